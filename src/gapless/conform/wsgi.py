"""Cases about what PEP 3333 promises a WSGI app: exc_info, errors, the end of its iterable, clients that go away."""

from __future__ import annotations

import socket
import struct
import time

from gapless.conform.case import Failed, NotApplicable, case, check
from gapless.conform.manager import Manager
from gapless.conform.started import Started, wait_for
from gapless.conform.visitor import Lost, head

CROWD = 24  # more clients that go away than threads by which servers run an app
CLOSES = 10.0  # seconds by which a server has seen that nobody is there


def begin(manager: Manager) -> Started:
    """A release that runs a WSGI app; raises NotApplicable where it is none."""
    started = manager.start()
    if manager.get("/wsgi/lazy").status == 404:
        raise NotApplicable("the app under test is no WSGI app")
    return started


def is_closed(started: Started, path: str, count: int = 1) -> bool:
    """Wait until the app has said so often that its iterable was closed."""
    return wait_for(lambda: started.output.count(f"closed {path}\n") >= count, CLOSES)


@case("7.1", "what an app gives comes whole: generators, empty pieces, write(); each iterable is closed")
def gives_all(manager: Manager) -> str:
    started = begin(manager)
    for path, body in (("/wsgi/lazy", b"lazy"), ("/wsgi/pieces", b"one two"), ("/wsgi/written", b"first second third")):
        already = started.output.count(f"closed {path}\n")
        response = manager.get(path)
        check((response.status, response.body) == (200, body), f"{path}: {response.status} {response.body[:80]!r}")
        check(is_closed(started, path, already + 1), f"{path}: close() was not called")
    return "3 of 3 came whole, and were closed"


@case("7.2", "exc_info before the body has begun: the client gets the second status")
def replaces_a_status(manager: Manager) -> str:
    begin(manager)
    response = manager.get("/wsgi/replaced")
    check((response.status, response.body) == (503, b"sorry"), f"status {response.status}: {response.body[:80]!r}")
    return "503, which the app gave with exc_info"


@case("7.3", "an empty piece does not begin the body: exc_info can replace the status, an exception is a 500")
def keeps_the_head_for_bytes(manager: Manager) -> str:
    begin(manager)
    for path, wanted in (("/wsgi/replaced-early", 503), ("/wsgi/raises-early", 500), ("/wsgi/text", 500)):
        status = manager.get(path).status
        check(status == wanted, f"{path}: status {status}, not {wanted}")
    return "503 by exc_info, 500 by an exception, each after an empty piece; 500 for a piece that is no bytes"


@case("7.4", "an exception or a second start_response before the body: 500, and nothing of what was said before")
def fails_with_500(manager: Manager) -> str:
    begin(manager)
    for path in ("/wsgi/raises", "/wsgi/twice", "/wsgi/bad-header"):
        response = manager.get(path)
        check(response.status == 500, f"{path}: status {response.status}")
        check("x-smuggled" not in response.headers, f"{path}: a line feed in a header made another header")
    return "3 of 3 are a 500"


@case("7.5", "exc_info or an exception after the body has begun: raised in the app, and no client takes it for whole")
def breaks_off(manager: Manager) -> str:
    started = begin(manager)
    for path in ("/wsgi/too-late", "/wsgi/raises-late"):
        visitor = manager.visitor().send(head(path))
        begun = visitor.begun()
        check(begun.status == 200, f"{path}: status {begun.status}")
        try:
            body = visitor.rest(begun).body
        except Lost:
            pass
        else:
            raise Failed(f"{path}: {body[:80]!r} came as a whole response")
        check(is_closed(started, path), f"{path}: close() was not called")
    check("raised again" in started.output, "start_response(…, exc_info) did not raise, though the head was sent")
    return "both broke off; start_response raised exc_info; both iterables were closed"


@case("7.6", f"{CROWD} clients that go away within their responses: each iterable is closed, and others are answered")
def hears_of_readers_that_go(manager: Manager) -> str:
    started = begin(manager)
    for path in ("/wsgi/endless", "/wsgi/flood"):
        for number in range(CROWD):
            with manager.visitor() as visitor:
                visitor.send(head(path)).begun()
                if number % 2:
                    _resets(visitor.sock)
        check(manager.get().status == 200, "others are not answered any more")
        check(is_closed(started, path, CROWD), f"{path}: not all of {CROWD} were closed {CLOSES:g} s later")
    return f"{CROWD} of {CROWD} closed, twice; others answered"


@case("7.7", f"{CROWD} clients that go away within their bodies: the app hears of it, and others are answered")
def hears_of_writers_that_go(manager: Manager) -> str:
    begin(manager)
    for number in range(CROWD):
        with manager.visitor() as visitor:
            visitor.send(head("/wsgi/upload", "POST", Content_Length="20") + b"abc")
            time.sleep(0.02)
            if number % 2:
                _resets(visitor.sock)
    response = manager.get()
    check(response.status == 200, f"others get status {response.status}")
    return f"others answered {response.seconds * 1000:.0f} ms after that"


@case("7.8", "the standard library's validator of both sides of PEP 3333 has no complaint")
def is_valid(manager: Manager) -> str:
    started = begin(manager)
    for method in ("GET", "HEAD", "POST"):
        visitor = manager.visitor()
        length = {"Content_Length": "2"} if method == "POST" else {}
        request = head("/wsgi/validated/caf%C3%A9/%FF?1", method, **length) + (b"ab" if length else b"")
        response = visitor.send(request).response(method)
        body = b"" if method == "HEAD" else b"plain"
        complaint = started.last_words
        check((response.status, response.body) == (200, body), f"{method}: status {response.status}; {complaint}")
    for word in ("AssertionError", "WSGIWarning"):
        check(word not in started.output, f"{word}: {started.last_words}")
    return "GET, HEAD and POST, of a path that is no UTF-8"


@case("7.9", "wsgi.input gives a body to its end: whole and in lines, by its length and in chunks")
def reads_to_the_end(manager: Manager) -> str:
    begin(manager)
    large, lines = b"x" * 300_000, b"one\ntwo\nthree"
    for path, body, wanted in (("/wsgi/upload", large, b"300000"), ("/wsgi/lines", lines, b"4 2")):
        response = manager.visitor().post(body, path)
        check(response.body == wanted, f"{path}: {response.body[:80]!r}, not {wanted!r}")
    third = b"%x\r\n%b\r\n" % (len(large) // 3, large[::3])
    chunked = head("/wsgi/upload", "POST", Transfer_Encoding="chunked") + third * 3 + b"0\r\n\r\n"
    response = manager.visitor().send(chunked).response()
    if response.status in (411, 501):
        return f"by its length; chunked bodies are refused with {response.status}"
    check(response.body == b"300000", f"in chunks: {response.body[:80]!r}, not 300000 bytes")
    return "300,000 bytes and lines by their length, and 300,000 bytes in chunks"


def _resets(sock: socket.socket) -> None:
    """Have its close be a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
