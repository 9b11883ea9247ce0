"""Servers that misbehave on purpose, for the probe's tests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median

from gapless.prove.kinds import Failure, Kind, Result
from gapless.prove.probe import probe
from gapless.prove.workload import Workload

DEADLINE = 10.0  # seconds; a condition that takes longer is a failure, not a slow machine
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ngapless-release: r1\r\n\r\nok"


@dataclass
class Server:
    """What a handler has seen."""

    url: str = ""
    connections: int = 0
    bodies: list[bytes] = field(default_factory=list)


@dataclass
class Peer:
    """One accepted connection, with the ways to misuse it."""

    server: Server
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def request(self) -> bytes | None:
        """Read a request whole; its body, or None once the client has closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await self.reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
        self.server.bodies.append(body)
        return body

    def send(self, data: bytes = GOOD) -> None:
        self.writer.write(data)

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Handler = Callable[[Peer], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Server]:
    """A server whose every connection is given to the handler, and closed after it."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handler(Peer(server, reader, writer, server.connections))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            tasks.discard(task)

    listening = await asyncio.start_server(accepted, "127.0.0.1", 0, backlog=1024)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=DEADLINE)


async def answering(peer: Peer) -> None:
    """A good server."""
    while await peer.request() is not None:
        peer.send()


def run(handler: Handler, kind: Kind, **changes: object) -> tuple[Result, Server]:
    """Probe the handler with one kind for a moment."""

    async def both() -> tuple[Result, Server]:
        async with serving(handler) as server:
            return await probe(plan_for(server.url, kind, **changes)), server

    return asyncio.run(both())


def plan_for(url: str, kind: Kind, **changes: object) -> Workload:
    usual: dict[str, object] = {
        "rate": 100.0,
        "duration_seconds": 0.15,
        "timeout_seconds": 5.0,
        "pause_seconds": 0.2,
        "upload_seconds": 0.2,
    }
    return Workload(url, kinds={kind: 1.0}, **{**usual, **changes})  # type: ignore[arg-type]


def failures(result: Result) -> set[Failure | None]:
    assert result.samples, "nothing was sent"
    return {sample.failure for sample in result.samples}


HTTP = [Kind.NEW, Kind.GET, Kind.POST, Kind.PAUSE, Kind.SLOW, Kind.LONG]


def check_owed(result: Result, end: float) -> None:
    """Each latency is what was left of the stall when its request was due, and hardly more."""
    extra = [sample.latency_seconds - max(end - sample.scheduled_at, 0.0) for sample in result.samples]
    assert min(extra) > -0.02
    assert median(extra) < 0.15


def after(seconds: float) -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    moment: asyncio.Future[None] = loop.create_future()
    loop.call_later(seconds, moment.set_result, None)
    return moment
