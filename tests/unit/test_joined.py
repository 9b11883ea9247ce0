"""What the protocols of `gapless serve` do otherwise than uvicorn's own, to be faster, and what stays the same."""

from __future__ import annotations

import asyncio
import gc
import socket
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

from gapless.listen import bind
from gapless.serve.accept import Acceptor
from gapless.serve.connections import Http
from gapless.serve.door import Door
from gapless.serve.joined import SMALL, Joined
from gapless.serve.settings import Settings

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"body"
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Wire:
    """A transport that remembers each write, and where it was closed."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        self.pieces.append(b"closed")

    def is_closing(self) -> bool:
        return b"closed" in self.pieces

    def get_protocol(self) -> None:
        pass


def sent(response: Callable[[Joined, Any], object]) -> list[bytes]:
    """The pieces in which a response leaves; a coroutine is one that takes more than a step of the loop."""
    wire, cycle = Wire(), types.SimpleNamespace(response_started=False, scope={"method": "GET"})

    async def send() -> None:
        waits = response(Joined(wire, cycle, asyncio.get_running_loop()), cycle)
        if asyncio.iscoroutine(waits):
            await waits
        await asyncio.sleep(0)

    asyncio.run(send())
    return wire.pieces


def test_a_head_leaves_with_the_body_that_is_there() -> None:
    """What an app sends in one step of the loop is one piece, and what follows a piece of its own."""

    def respond(joined: Joined, cycle: Any) -> None:
        joined.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # before the response: at once
        cycle.response_started = True
        joined.write(HEAD)
        joined.write(BODY)
        joined.write(BODY)
        joined.close()

    assert sent(respond) == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + BODY, BODY, b"closed"]


def test_a_head_does_not_wait_for_a_body() -> None:
    """A stream begins when its app says so, though its first event comes later; one that ends first is whole, too."""

    async def stream(joined: Joined, cycle: Any) -> None:
        cycle.response_started = True
        joined.write(HEAD)
        await asyncio.sleep(0)
        joined.write(b"first")
        joined.write(HEAD)  # a body may look like anything

    def break_off(joined: Joined, cycle: Any) -> None:
        cycle.response_started = True
        joined.write(HEAD)
        joined.close()

    assert sent(stream) == [HEAD, b"first", HEAD]
    assert sent(break_off) == [HEAD, b"closed"]


def test_a_large_body_is_not_copied() -> None:
    """Beyond SMALL bytes a copy costs more than a write."""

    def respond(joined: Joined, cycle: Any) -> None:
        cycle.response_started = True
        joined.write(HEAD)
        joined.write(b"x" * (SMALL + 1))

    assert [len(one) for one in sent(respond)] == [len(HEAD), SMALL + 1]


def test_no_body_follows_the_answer_to_a_head_request() -> None:
    """It leaves at once: whoever closes the connection now, cuts nothing off."""
    wire = Wire()
    cycle = types.SimpleNamespace(response_started=True, scope={"method": "HEAD"})
    Joined(wire, cycle, loop := asyncio.new_event_loop()).write(HEAD)
    loop.close()
    assert wire.pieces == [HEAD]


@pytest.mark.parametrize("make_loop", LOOPS)
@pytest.mark.parametrize("kind", ["127.0.0.1", "::1", "a path", "an abstract name"])
def test_addresses_are_those_that_uvicorn_finds(
    kind: str, make_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    """An app reads the same server and client from its scope as under uvicorn."""
    names: dict[str, Any] = {"a path": str(tmp_path / "s"), "an abstract name": f"\0{tmp_path.name}"}
    family = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}.get(kind, socket.AF_UNIX)

    async def accepted() -> Any:
        asked = asyncio.Event()

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            asked.set()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        with socket.socket(family) as listener, socket.socket(family) as client:
            listener.bind(names.get(kind, (kind, 0)))
            listener.listen()
            http = Http(app, {}, "", 1.0, Door(Settings(app="none:none")))
            acceptor = Acceptor([listener], http.protocol)
            acceptor.start()
            client.connect(listener.getsockname())
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await asked.wait()
            [protocol] = http.connections
            usual = get_local_addr(protocol.transport), get_remote_addr(protocol.transport)
            await acceptor.stop()
            protocol.transport.abort()
            return (protocol.server, protocol.client), usual

    with asyncio.Runner(loop_factory=make_loop) as runner:
        ours, usual = runner.run(asyncio.wait_for(accepted(), 20))
    assert ours == usual


@pytest.mark.parametrize("make_loop", LOOPS)
def test_nothing_of_a_request_outlives_it(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """What an app puts into a scope, a large upload say, is freed with the next request, by no garbage collection."""
    seen, freed = list[weakref.ref[Any]](), list[bool]()

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["state"]["upload"] = upload = Wire()
        seen.append(weakref.ref(upload))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def ask() -> None:
        listener = bind("127.0.0.1:0")
        http = Http(app, {}, "", 1.0, Door(Settings(app="none:none")))
        acceptor = Acceptor([listener], http.protocol)
        acceptor.start()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"\r\n\r\nok")
        await acceptor.stop()
        freed.extend(one() is None for one in seen[:2])
        writer.close()
        while http.connections:  # noqa: ASYNC110 -- until a step or two later
            await asyncio.sleep(0)

    gc.disable()
    try:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(asyncio.wait_for(ask(), 20))
    finally:
        gc.enable()
    assert freed == [True, True]
