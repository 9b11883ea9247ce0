"""Cases about requests and connections that a release has when it is told to go."""

from __future__ import annotations

import itertools
import threading
import time

from gapless.conform.case import NotApplicable, case, check
from gapless.conform.expect import BODY, IDLE, LATER, Traffic, ends, fine, good, needs_keep_alive
from gapless.conform.manager import LINGER, Manager
from gapless.conform.started import wait_for
from gapless.conform.visitor import Lost, Visitor, head


@case("3.1", "a handover while GETs come on new connections loses none")
def new_connections(manager: Manager) -> str:
    old = manager.start()
    with Traffic(lambda: fine(manager.get()), 4) as traffic:
        manager.replace(old)
        ends(old)
    return traffic.none_lost()


@case("3.2", "a handover while POSTs come on busy keep-alive connections loses none")
def busy_connections(manager: Manager) -> str:
    needs_keep_alive(manager)
    old = manager.start()
    lanes = threading.local()

    def post() -> None:
        lane: Visitor | None = getattr(lanes, "one", None)
        if lane is None or lane.is_closed():  # a client that looks sees the end, and opens another
            lane = lanes.one = manager.visitor()
        lanes.one = None
        if not fine(lane.post(BODY)).closes:
            lanes.one = lane

    with Traffic(post, 4) as traffic:
        manager.replace(old)
        ends(old)
    return traffic.none_lost()


@case("3.3", f"a POST on a connection that is idle at SIGTERM, {LATER:g} s after it, is answered")
def idle_connection(manager: Manager) -> str:
    needs_keep_alive(manager)
    old = manager.start()
    visitor = manager.visitor()
    good(visitor.post(BODY), BODY)
    time.sleep(IDLE)
    manager.retire(old)
    time.sleep(LATER)
    response = good(visitor.post(BODY), BODY)
    check(response.closes, "answered, but without Connection: close: the next request on it will be lost")
    ends(old)
    return "answered, with Connection: close"


@case("3.4", f"a connection on which nothing was sent by SIGTERM is answered when it sends, {LATER:g} s later")
def connect_pause_send(manager: Manager) -> str:
    old = manager.start()
    visitors = [manager.visitor() for _ in range(5)]
    manager.until_accepted(2)
    manager.replace(old)
    time.sleep(LATER)
    for visitor in visitors:
        good(visitor.get())
    ends(old)
    return f"{len(visitors)} of {len(visitors)} answered"


@case("3.5", "connections whose requests arrive in the moment of SIGTERM are answered")
def accepted_unread(manager: Manager) -> str:
    old = manager.start()
    manager.start()
    before = [manager.visitor().send(head(Connection="close")) for _ in range(40)]
    old.tell()
    visitors = before + [manager.visitor().send(head(Connection="close")) for _ in range(40)]
    for visitor in visitors:
        with visitor:
            good(visitor.response())
    ends(old)
    return f"{len(visitors)} of {len(visitors)} answered"


@case("3.6", "pipelined requests: each is answered, or the answer before it says close")
def pipelined(manager: Manager) -> str:
    needs_keep_alive(manager)
    old = manager.start()
    visitor = manager.visitor().send(head("/slow?1.5") + head() + head())
    time.sleep(0.3)
    manager.replace(old)
    for number in itertools.count(1):
        closes = good(visitor.response()).closes
        if closes or number == 3:
            break
    ends(old)
    return f"{number} of 3 answered" + (", the last with Connection: close" if closes else "")


@case("3.7", "an upload that is under way at SIGTERM is taken to its end and answered")
def slow_upload(manager: Manager) -> str:
    old = manager.start()
    visitor = manager.visitor().send(head("/echo", "POST", Content_Length="1000") + BODY[:100])
    manager.replace(old)
    for start in range(100, 1000, 100):
        visitor.send(BODY[start : start + 100])
        time.sleep(0.15)
    good(visitor.response(), BODY)
    ends(old)
    return "answered with all of its 1,000 bytes"


@case("3.8", "a request that the app works on at SIGTERM is answered")
def slow_response(manager: Manager) -> str:
    old = manager.start()
    visitor = manager.visitor().send(head("/slow?2.5"))
    time.sleep(0.2)
    at = manager.retire(old)
    good(visitor.response())
    seconds = time.monotonic() - at
    ends(old)
    return f"answered {seconds:.1f} s after SIGTERM"


@case("3.9", "a response that has begun at SIGTERM is completed")
def begun_response(manager: Manager) -> str:
    old = manager.start()
    visitor = manager.visitor().send(head("/begin?2.5"))
    begun = visitor.begun()
    manager.retire(old)
    response = visitor.rest(begun)
    good(response, b"begun ok")
    ends(old)
    return "its second part came, and its end"


@case("3.10", "a large download whose client reads slowly is complete")
def large_download(manager: Manager) -> str:
    old = manager.start()
    visitor = manager.visitor().send(head("/large"))
    begun = visitor.begun()
    manager.retire(old)
    size, began = 0, time.monotonic()
    while size < 8 << 20:
        part = begun.read(1 << 20)
        if not part:
            break
        size += len(part)
        time.sleep(0.25)
    check(size == 8 << 20, f"{size:,} of {8 << 20:,} bytes came")
    seconds = time.monotonic() - began
    ends(old)
    return f"8 MiB in {seconds:.1f} s, all after SIGTERM"


@case("3.11", "a chunked body that is under way at SIGTERM is taken to its end and answered")
def chunked_body(manager: Manager) -> str:
    old = manager.start()
    visitor = manager.visitor().send(head("/echo", "POST", Transfer_Encoding="chunked") + b"5\r\nhello\r\n")
    time.sleep(0.2)
    manager.retire(old)
    for part in (b"5\r\nworld", b"\r\n", b"0\r\n", b"\r\n"):
        time.sleep(0.2)
        visitor.send(part)
    response = visitor.response()
    if response.status in (411, 501):
        raise NotApplicable(f"it refuses chunked bodies: status {response.status}")
    good(response, b"helloworld")
    ends(old)
    return "answered with both chunks"


@case("3.12", "Expect: 100-continue: the body that is sent after SIGTERM is answered")
def expects_continue(manager: Manager) -> str:
    old = manager.start()
    visitor = manager.visitor().send(head("/echo", "POST", Content_Length="1000", Expect="100-continue"))
    visitor.sock.settimeout(2)
    try:
        interim = visitor.stream.readline()
        while visitor.stream.readline().strip():  # it may have headers
            pass
    except OSError:
        raise Lost("neither 100 Continue nor an answer within 2 s") from None
    check(interim.split()[1:2] == [b"100"], f"it answered {interim!r}")
    manager.retire(old)
    visitor.sock.settimeout(10)
    visitor.send(BODY)
    good(visitor.response(), BODY)
    ends(old)
    return "100 Continue before, the answer after SIGTERM"


@case("3.13", "HTTP/1.0: a request of it that is under way at SIGTERM is answered, and its connection closed")
def http_1_0(manager: Manager) -> str:
    old = manager.start()
    visitor = manager.visitor().send(b"GET /slow?1.5 HTTP/1.0\r\n\r\n")
    time.sleep(0.2)
    manager.retire(old)
    good(visitor.response())
    check(wait_for(visitor.is_closed, 2), "its connection is still open 2 s later")
    ends(old)
    return "answered, then closed"


@case("3.14", f"an idle connection is not closed before {LATER:g} s of the {LINGER:g} s of $GAPLESS_LINGER are over")
def lingers(manager: Manager) -> str:
    needs_keep_alive(manager)
    old = manager.start()
    visitor = manager.visitor()
    visitor.get()
    time.sleep(IDLE)
    at = manager.retire(old)
    while time.monotonic() - at < LATER:
        check(
            not visitor.is_closed(), f"closed {time.monotonic() - at:.2f} s after SIGTERM: a request may be under way"
        )
        time.sleep(0.02)
    ends(old)
    return f"open {LATER:g} s after SIGTERM; {old.release} ended in time"
