"""An accepted connection gets its protocol, whatever happens around it."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from gapless.listen import bind
from gapless.serve import channel
from gapless.serve.accept import Acceptor
from gapless.serve.server import Server
from gapless.serve.settings import Settings

QUEUED = 9  # clients: accepted one after the other, so that a stop comes before the last
CAME = 400  # clients that come and go beside threads that open files
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Remembered(asyncio.Protocol):
    """Knows whether it was attached, and when its connection ended."""

    transport: asyncio.BaseTransport | None = None

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost.set()


def queued(listener: socket.socket, count: int) -> list[socket.socket]:
    """Clients that wait in the kernel's queue."""
    return [socket.create_connection(listener.getsockname(), 10) for _ in range(count)]


@pytest.mark.parametrize("make_loop", LOOPS)
def test_a_stop_waits_until_what_was_accepted_is_attached(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Invariant 6: when `stop` returns, no accepted connection is without its protocol; the rest stays queued."""

    async def stop_while_accepting() -> list[bool]:
        listener = bind("127.0.0.1:0")
        held = listener.dup()  # as a manager holds it
        clients = queued(listener, QUEUED)
        made: list[Remembered] = []
        accepting = asyncio.Event()

        def make() -> Remembered:
            accepting.set()  # `stop` runs before the loop has attached anything
            made.append(Remembered())
            return made[-1]

        acceptor = Acceptor([listener], make)
        acceptor.start()
        await accepting.wait()
        await acceptor.stop()
        attached = [one.transport is not None for one in made]
        held.accept()[0].close()  # does not block
        held.close()
        for client in clients:
            client.close()
        await asyncio.gather(*(one.lost.wait() for one in made))
        return attached

    with asyncio.Runner(loop_factory=make_loop) as runner:
        attached = runner.run(asyncio.wait_for(stop_while_accepting(), 20))
    assert all(attached)
    assert 0 < len(attached) < QUEUED


@pytest.mark.parametrize("make_loop", LOOPS)
def test_a_connection_that_cannot_be_attached_harms_no_other(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """A connection that broke before it was attached is closed, and the next one is served."""

    async def break_the_first() -> None:
        listener = bind("127.0.0.1:0")
        first, second = queued(listener, 2)
        made: asyncio.Queue[Remembered] = asyncio.Queue()
        broken = [OSError(107, "Transport endpoint is not connected")]

        def make() -> Remembered:
            if broken:
                raise broken.pop()
            served = Remembered()
            made.put_nowait(served)
            return served

        acceptor = Acceptor([listener], make)
        acceptor.start()
        served = await made.get()
        await acceptor.stop()
        assert await asyncio.to_thread(first.recv, 1) == b""
        first.close()
        second.close()
        await served.lost.wait()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(asyncio.wait_for(break_the_first(), 20))


@pytest.mark.parametrize("make_loop", LOOPS)
def test_the_end_of_a_connection_closes_nothing_else(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Invariant 6: a connection's descriptor is closed once; its number may be a thread's file a moment later."""
    over = threading.Event()
    wrong: list[OSError] = []

    def open_and_close() -> None:
        while not over.is_set() and not wrong:
            try:
                ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
                os.write(ends[1], b"1")
                os.read(ends[0], 1)
                os.close(ends[0])
                os.close(ends[1])
            except OSError as error:
                wrong.append(error)

    async def come_and_go() -> None:
        listener = bind("127.0.0.1:0")
        acceptor = Acceptor([listener], Remembered)
        acceptor.start()
        for _ in range(CAME):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            await writer.wait_closed()
            del reader
        await acceptor.stop()

    threads = [threading.Thread(target=open_and_close, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(asyncio.wait_for(come_and_go(), 60))
    finally:
        over.set()
        for thread in threads:
            thread.join(10)
    assert wrong == []


def test_a_worker_without_a_descriptor_left_goes_on_to_say_how_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 9: before Linux 6.2 counting descriptors takes one more; a parent kills a worker that says nothing."""
    monkeypatch.setattr(channel, "BEAT", 0.01)
    ask = os.stat
    empty = SimpleNamespace(st_size=0)  # as the directory is there
    monkeypatch.setattr(os, "stat", lambda path, **how: empty if path == "/proc/self/fd" else ask(path, **how))
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def said() -> dict[str, Any]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with bind("127.0.0.1:0") as listener, ours, theirs:
            ours.setblocking(False)
            line = channel.Channel(theirs, Server(Settings(app="none:none"), _no_app, [listener]))
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
            beat = asyncio.create_task(line.beat())
            try:
                for _ in range(2):
                    document = json.loads(await asyncio.get_running_loop().sock_recv(ours, 1 << 16))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
                beat.cancel()
                asyncio.get_running_loop().remove_reader(theirs)
        assert isinstance(document, dict)
        return document

    document = asyncio.run(asyncio.wait_for(said(), 10))
    assert (document["descriptors"], document["descriptors_allowed"]) == (3, 3)


async def _no_app(_scope: Any, _receive: Any, _send: Any) -> None:
    """Is never called."""
