"""The probe sees every way to lose a request: a proof that cannot fail proves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from websockets.asyncio.server import ServerConnection, serve

from gapless import GaplessError
from gapless.prove.kinds import Failure, Kind, Result, parse_kinds
from gapless.prove.plan import Plan
from gapless.prove.probe import probe
from gapless.prove.verdict import judge

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\ngapless-release: R1\r\n\r\nok"
ANSWERS = {  # path: (what is sent, how the connection goes on)
    "/ok": (OK, "open"),
    "/says-close": (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), "close"),
    "/closes-idle": (OK, "close"),
    "/closed": (b"", "close"),
    "/reset": (b"", "reset"),
    "/500": (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "open"),
    "/302": (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /\r\n\r\n", "open"),
    "/truncated": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", "close"),
    "/garbage": (b"\x00\x01 this is no HTTP\r\n\r\n", "close"),
    "/hangs": (b"", "open"),
    "/hangs-in-the-body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", "open"),
}


class Misbehaving:
    """An HTTP server that does what the path says; `stall` blocks it for a while."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._up = threading.Event()
        self._thread.start()
        self._up.wait()

    def _run(self) -> None:
        async def main() -> None:
            self._end = asyncio.Event()
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self._up.set()
            await self._end.wait()
            server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for one in others:
                one.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(main())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._answer(reader, writer):
                    pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split()[0]) if "content-length: " in head else 0
        if length:
            self.bodies.append(await reader.readexactly(length))
        answer, then = ANSWERS[head.split()[1]]
        writer.write(answer)
        await writer.drain()
        if then == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return then == "open"

    def stall(self, seconds: float) -> None:
        self._loop.call_soon_threadsafe(time.sleep, seconds)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    """A server on loopback that misbehaves when it is asked to."""
    one = Misbehaving()
    yield one
    one.stop()


def load(port: int, path: str, kinds: str, seconds: float = 0.5, **more: float) -> Result:
    """A short probe of one path."""
    plan = Plan(
        f"http://127.0.0.1:{port}",
        rate=more.pop("rate", 40),
        duration_seconds=seconds,
        kinds=parse_kinds(kinds),
        path=path,
        post_path=path,
        timeout_seconds=more.pop("timeout", 5),
        pause_seconds=0.1,
        upload_seconds=0.1,
        max_under_way=int(more.pop("under_way", 100)),
    )
    return asyncio.run(probe(plan))


@pytest.mark.parametrize("path", ["/ok", "/says-close", "/closes-idle"])
@pytest.mark.parametrize("kinds", ["new", "get", "post", "pause", "slow"])
def test_what_is_legal_is_not_lost(server: Misbehaving, path: str, kinds: str) -> None:
    """Keep-alive, Connection: close and a connection closed while idle cost no request; the release is seen."""
    verdict = judge(load(server.port, path, kinds))
    assert verdict.ok, verdict.losses
    assert verdict.requests >= 15
    assert [one.release for one in verdict.releases] == ["R1"]


@pytest.mark.parametrize(
    ("path", "failure"),
    [
        ("/closed", Failure.CLOSED),
        ("/reset", Failure.RESET),
        ("/500", Failure.STATUS),
        ("/302", Failure.STATUS),
        ("/truncated", Failure.TRUNCATED),
        ("/garbage", Failure.MALFORMED),
        ("/hangs", Failure.TIMEOUT),
        ("/hangs-in-the-body", Failure.TIMEOUT),
    ],
)
@pytest.mark.parametrize("kinds", ["new", "get", "post"])
def test_what_is_lost_is_seen_as_what_it_is(server: Misbehaving, path: str, failure: Failure, kinds: str) -> None:
    """Each way to lose a request is counted under its own name, on new and on kept connections."""
    verdict = judge(load(server.port, path, kinds, seconds=0.3, timeout=0.3))
    assert verdict.lost == verdict.requests > 5
    assert verdict.lost_by_failure == {failure: verdict.lost}
    assert not verdict.ok


def test_a_refused_connection_is_lost() -> None:
    """Nobody listens: every request is lost, which is a result and not an error of the probe."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    verdict = judge(load(port, "/ok", "new,get,post,pause,slow,ws"))
    assert set(verdict.lost_by_failure) == {Failure.REFUSED}
    assert verdict.lost == verdict.requests


def test_requests_leave_on_schedule_while_the_server_stalls(server: Misbehaving) -> None:
    """Open loop: all that were due in a stall of a second are late by their share of it, none is left out."""
    threading.Timer(0.3, server.stall, [1.0]).start()
    result = load(server.port, "/ok", "get", seconds=2, rate=100)
    late = [sample for sample in result.samples if sample.latency_seconds > 0.1]
    assert len(result.samples) >= 195
    assert len(late) > 80
    assert 0.9 < max(sample.latency_seconds for sample in late) < 1.5


def test_what_could_not_be_sent_is_lost_too(server: Misbehaving) -> None:
    """At the probe's own limit a request is an overrun: neither the server's fault nor forgotten."""
    verdict = judge(load(server.port, "/hangs", "new", timeout=5, under_way=5, seconds=0.4))
    assert verdict.lost_by_failure[Failure.OVERRUN] >= 5


def test_posts_carry_ids_that_are_their_own(server: Misbehaving) -> None:
    """Every POST has an id in its body, acknowledged ids are those that were answered."""
    result = load(server.port, "/ok", "post,slow")
    assert len(set(result.acknowledged)) == len(result.acknowledged) > 10
    assert all(any(one.encode() in body for body in server.bodies) for one in result.acknowledged)


def websocket_result(code: int) -> Result:
    """A probe of a WebSocket server that ends every connection after three echoes with this close code."""

    async def echo(connection: ServerConnection) -> None:
        for _ in range(3):
            await connection.send(await connection.recv())
        if code == 1006:
            await connection.recv()
            connection.transport.abort()
        else:
            await connection.close(code)

    async def main() -> Result:
        async with serve(echo, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            plan = Plan(
                f"http://127.0.0.1:{port}", rate=60, duration_seconds=0.8, kinds={Kind.WS: 1}, timeout_seconds=3
            )
            return await probe(plan)

    return asyncio.run(main())


def test_a_websocket_that_is_told_to_come_back_comes_back() -> None:
    """Close code 1012 is legal: counted as restarted, and the message under way is sent again."""
    verdict = judge(websocket_result(1012))
    assert verdict.ok, verdict.losses
    assert verdict.restarted > 3


def test_a_websocket_that_breaks_loses_its_message() -> None:
    """A connection that just ends with a message unanswered lost it."""
    verdict = judge(websocket_result(1006))
    assert verdict.lost > 3
    assert verdict.lost_by_kind == {Kind.WS: verdict.lost}


def test_stopping_gives_the_result_so_far(server: Misbehaving) -> None:
    """A set stop event ends the schedule; what was under way is waited for."""

    async def main() -> Result:
        stop = asyncio.Event()
        plan = Plan(f"http://127.0.0.1:{server.port}", rate=50, path="/ok", kinds={Kind.NEW: 1})
        running = asyncio.create_task(probe(plan, None, stop))
        await asyncio.sleep(0.5)
        stop.set()
        return await running

    verdict = judge(asyncio.run(main()))
    assert verdict.ok
    assert 15 < verdict.requests < 35


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "http://x:0", "http://x:99999"])
def test_a_url_it_cannot_use_is_refused(url: str) -> None:
    """Invariant 8: wrong use is named, exit status 2."""
    with pytest.raises(GaplessError, match="cannot probe") as caught:
        Plan(url)
    assert caught.value.status == 2


def test_kinds_are_read_as_weights() -> None:
    """`get=2,post` are weights; an unknown kind names those there are."""
    assert parse_kinds("get=2, post") == {Kind.GET: 2.0, Kind.POST: 1.0}
    with pytest.raises(GaplessError, match="no such kind") as caught:
        parse_kinds("put")
    assert "new, get, post" in caught.value.hint
