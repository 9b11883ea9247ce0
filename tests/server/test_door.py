"""What visitors send too slowly, or too much of: it has an end that is answered where that is possible."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from tests.server.conftest import Serve
from tests.server.served import Served, read_all
from tests.server.test_drain import HANDSHAKE
from tests.support import wait_until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LIMIT = 65536  # bytes of a head
PART = 4096  # bytes that our server parses at a time
MUCH = 64 << 20


def answered(visitor: socket.socket) -> bytes:
    """Read one response of the app's, with its chunked body."""
    visitor.settimeout(20)
    answer = b""
    while not answer.endswith(b"0\r\n\r\n"):
        more = visitor.recv(4096)
        assert more, answer
        answer += more
    return answer


def trickle(visitor: socket.socket, part: bytes, seconds: float) -> float:
    """Send `part` ten times a second until something is answered, for so long at most; return how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds and not select.select([visitor], [], [], 0.1)[0]:
        with contextlib.suppress(OSError):
            visitor.sendall(part)
    return time.monotonic() - began


def taken(visitor: socket.socket, parts: Iterable[bytes]) -> int:
    """Send `parts` until the server stops taking them, or answers; return how many bytes it was."""
    count = 0
    visitor.settimeout(10)
    for part in parts:
        if select.select([visitor], [], [], 0)[0]:
            break
        try:
            visitor.sendall(part)
        except OSError:
            break
        count += len(part)
    return count


def memory(served: Served) -> int:
    """The bytes of memory that the server has had at the most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{served.process.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.fixture
def quick(serve: Serve) -> Served:
    """A server whose visitors may take a second for a head, and as long without a byte of a body."""
    return serve(head=1, body=1)


@pytest.fixture
def visitor(quick: Served) -> Iterator[socket.socket]:
    """A connection to it."""
    with quick.visitor() as one:
        yield one


SLOW = {b"GET /": b"x", GET[:-2]: b"a: b\r\n", HANDSHAKE[:-2]: b"a: b\r\n", b"\r\n": b"\r\n", b"G": b""}


@pytest.mark.parametrize("before", [b"", GET], ids=["new", "idle"])
def test_a_head_that_comes_slowly(quick: Served, before: bytes) -> None:
    """Invariant 6, its limits: a head has its time from its first byte, however it trickles; then 408, and the end."""
    with contextlib.ExitStack() as stack:
        visitors = {begin: stack.enter_context(quick.visitor()) for begin in SLOW}
        for begin, one in visitors.items():
            if before:
                one.sendall(before)
                answered(one)
            one.sendall(begin)
        began = time.monotonic()
        while not select.select(visitors.values(), [], [], 0.1)[0]:
            assert time.monotonic() - began < 20
            for begin, one in visitors.items():
                one.sendall(SLOW[begin])
        assert time.monotonic() - began > 0.8
        for one in visitors.values():
            answer = read_all(one)
            assert answer.startswith(b"HTTP/1.1 408 "), answer
            assert b"connection: close" in answer.lower()
        assert time.monotonic() - began < 6


def test_who_waits_owes_nothing(serve: Serve) -> None:
    """Invariant 6: neither a connection on which nothing came yet nor an idle one is closed for its head."""
    quick = serve(head=0.5, body=0.5, linger=5)
    with quick.visitor() as fresh, quick.visitor() as idle, quick.visitor() as after:
        idle.sendall(GET)
        answered(idle)
        after.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        quick.says("reading")
        after.sendall(b"0\r\n\r\n")  # the end of a body is no beginning of a head
        answered(after)
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 2.5)
        for one in (idle, fresh, after):
            one.sendall(GET)
            assert answered(one).startswith(b"HTTP/1.1 200")


def test_a_head_whose_turn_has_not_come(quick: Served, visitor: socket.socket) -> None:
    """Invariant 6: half a head behind a request that is still answered costs that request nothing."""
    visitor.sendall(GET.replace(b"/", b"/slow?3", 1) + GET[:9])
    assert answered(visitor).startswith(b"HTTP/1.1 200")
    visitor.sendall(GET[9:])
    assert answered(visitor).startswith(b"HTTP/1.1 200")
    quick.says("asked /\n")


def test_a_head_in_one_piece(quick: Served) -> None:
    """Its size counts, however it comes: 60 KiB are read, 70 KiB are refused."""
    for size, status in ((60 << 10, b"200"), (70 << 10, b"431")):
        with quick.visitor() as visitor:
            visitor.sendall(GET[:-2] + b"a: " + b"x" * size + b"\r\n\r\n")
            assert visitor.recv(100).split(b" ", 2)[1] == status


def test_trailers_without_an_end(quick: Served, visitor: socket.socket) -> None:
    """Invariant 6, its limits: what comes after a chunked body is as bounded as what comes before it."""
    visitor.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\na: ")
    quick.says("reading")
    assert taken(visitor, (b"x" * 1000 for _ in range(MUCH // 1000))) < 16 << 20
    assert visitor.recv(100).startswith(b"HTTP/1.1 431 ")
    quick.says("gone")


def test_a_body_that_stalls(quick: Served, visitor: socket.socket) -> None:
    """Invariant 6, its limits: the app hears that its client is gone, and that reads why."""
    visitor.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nx")
    assert read_all(visitor).startswith(b"HTTP/1.1 408 ")
    quick.says("gone")


def test_a_body_that_stalls_after_its_answer(visitor: socket.socket) -> None:
    """Invariant 6, its limits: a client that got its answer and never ends its request does not stay for ever."""
    visitor.sendall(GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 20\r\n\r\nx"))
    assert answered(visitor).startswith(b"HTTP/1.1 200")
    visitor.sendall(b"x")  # and no timer of a connection that is idle runs from here on
    assert read_all(visitor) == b""


def test_a_body_that_comes_slowly(visitor: socket.socket) -> None:
    """Invariant 6: an upload that goes on is taken to its end, and chunks without a byte in them are not going on."""
    visitor.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n")
    for _ in range(30):  # and not a byte more: it would be the next request's, and a bad one
        assert not select.select([visitor], [], [], 0.1)[0]
        visitor.sendall(b"x")
    assert b"30" in answered(visitor)


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"], ids=["sends", "waits"])
def test_an_app_that_reads_late(visitor: socket.socket, expect: bytes) -> None:
    """Invariant 6: a body that cannot come, as the app does not take it yet, is no fault of the client's."""
    size = 1 << 20
    visitor.sendall(b"POST /upload?3 HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n" % (expect, size))
    if expect:
        assert visitor.recv(100).startswith(b"HTTP/1.1 100 ")
    visitor.sendall(b"x" * size)
    assert str(size).encode() in answered(visitor)


def test_the_same_in_a_drain(serve: Serve) -> None:
    """Invariant 6, its limits: a retiring instance waits no longer than any for heads and bodies, and says why."""
    served = serve(head=1, body=1, linger=20, requests=20, streams=20)
    with served.visitor() as slow, served.visitor() as large, served.visitor() as stalled:
        for one in (slow, large, stalled):
            one.sendall(GET)
            answered(one)
        began = served.retire()
        slow.sendall(GET[:9])
        stalled.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nx")
        assert taken(large, (b"x" * 1000 for _ in range(MUCH // 1000))) < 16 << 20
        assert read_all(slow).startswith(b"HTTP/1.1 408 ")
        assert read_all(stalled).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < 10
    assert served.process.status(10) == 0
    assert "cut off" not in served.process.output


def test_requests_in_one_piece(quick: Served) -> None:
    """Thousands that are pipelined are answered, each in its turn, and wait as bytes, not as requests."""
    short, count = b"GET / HTTP/1.1\r\n\r\n", 3000
    before = memory(quick)
    with contextlib.ExitStack() as stack:
        visitors = [stack.enter_context(quick.visitor()) for _ in range(8)]
        for one in visitors:
            one.sendall(GET.replace(b"/", b"/slow?2", 1) + short * count)
        wait_until(lambda: quick.process.output.count("asked /slow") == len(visitors))
        for one in visitors:
            answers = b""
            while answers.count(b"HTTP/1.1 200") < count + 1 or not answers.endswith(b"0\r\n\r\n"):
                more = one.recv(2**16)
                assert more
                answers += more
    assert memory(quick) - before < 24 << 20


def test_what_follows_the_last_answer_of_a_drain(serve: Serve) -> None:
    """Invariant 6: a pipelined request that cannot be answered any more is not begun; its client may repeat it."""
    served = serve(linger=20, requests=20, streams=20)
    with served.visitor() as visitor:
        first = GET.replace(b"/", b"/slow?1", 1)
        second = GET.replace(b"/", b"/second", 1)[:-2] + b"a: "
        second += b"x" * (PART - len(first + second) - 4) + b"\r\n\r\n"
        visitor.sendall(first + second + GET.replace(b"/", b"/third", 1))
        served.says("asked /slow")
        served.retire()
        assert read_all(visitor).count(b"HTTP/1.1 200") == 2
    assert served.process.status(10) == 0
    assert "asked /second" in served.process.output
    assert "asked /third" not in served.process.output


def test_an_upload_behind_another_request(visitor: socket.socket) -> None:
    """Invariant 6: a body that was read with the requests before and behind it is taken when its turn has come."""
    upload = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20000
    visitor.sendall(GET.replace(b"/", b"/slow?1", 1) + upload + GET * 300 + upload)
    visitor.settimeout(20)
    answers = b""
    while answers.count(b"20000\r\n") < 2:
        more = visitor.recv(2**16)
        assert more
        answers += more
    assert answers.count(b"HTTP/1.1 200") == 303


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    """One frame as a client sends it."""
    return Frame(opcode, data, fin).serialize(mask=True)


def socketed(served: Served, visitor: socket.socket) -> None:
    """Make a WebSocket of the connection."""
    visitor.sendall(HANDSHAKE.replace(b"/ws-never", b"/ws"))
    visitor.settimeout(30)
    assert visitor.recv(1000).startswith(b"HTTP/1.1 101")
    served.says("asked /ws")


@pytest.mark.parametrize(
    "request_",
    [HANDSHAKE[:-2] + b"Cookie: " + b"x" * 9000 + b"\r\n\r\n", HANDSHAKE[:-2] + b"a: b\r\n" * 200 + b"\r\n"],
    ids=["cookie", "headers"],
)
def test_a_handshake_that_is_too_large(visitor: socket.socket, request_: bytes) -> None:
    """Invariant 6, its limits: it is answered, and holds no descriptor for ever."""
    visitor.sendall(request_)
    assert read_all(visitor).startswith(b"HTTP/1.1 400 ")


def test_a_message_in_more_pieces_than_anybody_needs(quick: Served, visitor: socket.socket) -> None:
    """A WebSocket message takes the memory of its bytes, not that of its fragments."""
    socketed(quick, visitor)
    before = memory(quick)
    visitor.sendall(frame(Opcode.TEXT, b"begun", fin=False))
    for _ in range(40):
        visitor.sendall(frame(Opcode.CONT, b"xy", fin=False) * 10_000)
    visitor.sendall(frame(Opcode.CONT, b"end"))
    echo = b""
    while not echo.endswith(b"end"):
        echo += visitor.recv(2**16)
    assert len(echo) > 800_000
    assert memory(quick) - before < 8 << 20


def packed(data: bytes) -> bytes:
    """One message as a client sends it that has agreed to pack them (RFC 7692)."""
    squeeze = zlib.compressobj(9, wbits=-12)
    sent = bytearray(frame(Opcode.TEXT, (squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]))
    sent[0] |= 0x40
    return bytes(sent)


def test_packed_messages_in_one_piece(quick: Served, visitor: socket.socket) -> None:
    """What is packed a thousandfold is unpacked as the app takes it: a few KiB do not cost the memory of them all."""
    agrees = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    visitor.sendall(HANDSHAKE.replace(b"/ws-never", b"/ws")[:-2] + agrees)
    assert b"permessage-deflate" in visitor.recv(1000)
    quick.says("asked /ws")
    before = memory(quick)
    visitor.sendall(packed(bytes((16 << 20) - 1)) * 12 + frame(Opcode.CLOSE, b""))
    read_all(visitor)
    assert memory(quick) - before < 128 << 20


def test_packed_messages_that_are_not_whole(quick: Served) -> None:
    """Invariant 6, its limits: what many keep begun has an end that they share, be it sent in ever so few bytes."""
    agrees = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    begun = bytearray(packed(bytes((16 << 20) - 1)))
    begun[0] &= 0x7F  # its end is to come
    before = memory(quick)
    with contextlib.ExitStack() as stack:
        visitors = [stack.enter_context(quick.visitor()) for _ in range(24)]
        for one in visitors:
            one.sendall(HANDSHAKE.replace(b"/ws-never", b"/ws")[:-2] + agrees)
            assert one.recv(1000).startswith(b"HTTP/1.1 101")
            one.sendall(begun)
        wait_until(lambda: len(select.select(visitors, [], [], 0)[0]) > 6)
        closed = select.select(visitors, [], [], 0)[0]
        assert len(closed) < 12
        assert {read_all(one) for one in closed} == {b"\x88\x02\x03\xf1"}  # a close with 1009
    assert memory(quick) - before < 400 << 20


def test_pings_of_a_client_that_reads_nothing(quick: Served, visitor: socket.socket) -> None:
    """Answers that nobody takes do not pile up; a client that reads again is answered again."""
    socketed(quick, visitor)
    before = memory(quick)
    pings = frame(Opcode.PING, b"x" * 125) * 1000
    for _ in range(300):
        visitor.sendall(pings)
    assert memory(quick) - before < 16 << 20
    visitor.sendall(frame(Opcode.TEXT, b"still there"))
    came = b""
    while b"still there" not in came:
        came = came[-100:] + visitor.recv(2**16)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_message_that_is_too_large(quick: Served, compression: str | None) -> None:
    """A WebSocket is closed at 16 MiB, packed or not: with 1009, or by a reset where the client still sends."""
    before = memory(quick)
    with connect(f"ws://127.0.0.1:{quick.port}/ws", compression=compression, max_size=None) as client:
        with contextlib.suppress(ConnectionClosed):
            client.send(b"\0" * (256 << 20) if compression else b"\0" * (17 << 20))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=20)
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    assert memory(quick) - before < 96 << 20
    assert "Traceback" not in quick.process.output
