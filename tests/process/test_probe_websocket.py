"""WebSocket messages that wait for their echo."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from gapless.prove.kinds import Failure, Kind, Result
from gapless.prove.probe import probe
from tests.process.probed import GOOD, Peer, after, check_owed, failures, plan_for, run

WebSocketHandler = Callable[[ServerConnection], Awaitable[None]]


async def echoing(peer: ServerConnection) -> None:
    async for message in peer:
        await peer.send(message)


def run_ws(handler: WebSocketHandler, **changes: object) -> Result:
    async def both() -> Result:
        def name_release(peer: ServerConnection, request: Request, response: Response) -> None:  # noqa: ARG001
            response.headers["gapless-release"] = "r1"

        async with serve(handler, "127.0.0.1", 0, process_response=name_release, close_timeout=1) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            return await probe(plan_for(f"ws://127.0.0.1:{port}", Kind.WS, **changes))

    return asyncio.run(both())


def test_echoes() -> None:
    """Messages that come back are answered, in the release of the handshake; our own close is not the server's."""
    result = run_ws(echoing)
    assert failures(result) == {None}
    assert {(sample.status, sample.release) for sample in result.samples} == {(101, "r1")}
    assert result.closes == {}


def test_service_restart_sends_the_message_again() -> None:
    """Close code 1012 with a message under way: sent again on a new connection, not lost, and counted."""
    asked: list[str | bytes] = []

    async def restarting(peer: ServerConnection) -> None:
        async for message in peer:
            asked.append(message)
            if len(asked) == 4:
                await peer.close(1012, "restart")
                return
            await peer.send(message)

    result = run_ws(restarting, lanes=1)
    assert failures(result) == {None}
    assert result.closes == {1012: 1}
    assert [sample.resent for sample in result.samples].count(1) == 1
    assert asked[3] == asked[4]


def test_service_restart_of_an_idle_connection_reconnects_at_once() -> None:
    """Close code 1012 with nothing under way: the client is back long before its next message is due."""
    connected: list[ServerConnection] = []

    async def restarting(peer: ServerConnection) -> None:
        connected.append(peer)
        async for message in peer:
            await peer.send(message)
            if len(connected) == 1:
                await peer.close(1012)

    result = run_ws(restarting, lanes=1, rate=1.0, duration_seconds=1.0)
    assert failures(result) == {None}
    assert result.closes == {1012: 1}
    assert len(result.samples) == 1, "only one message was ever due"
    assert len(connected) == 2  # without a message to send


def test_an_unanswered_message_of_a_broken_connection_is_lost() -> None:
    """An end without a close frame (1006) while a message is unanswered."""

    async def breaking(peer: ServerConnection) -> None:
        await peer.recv()
        peer.transport.abort()

    result = run_ws(breaking)
    assert failures(result) <= {Failure.CLOSED, Failure.RESET}
    assert set(result.closes) == {1006}
    assert "1006" in result.samples[0].detail


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1013])
def test_other_close_codes_lose_the_message(code: int) -> None:
    """Only 1012 is a legal end while a message is unanswered."""

    async def closing(peer: ServerConnection) -> None:
        await peer.recv()
        await peer.close(code)

    result = run_ws(closing)
    assert failures(result) == {Failure.CLOSED}
    assert str(code) in result.samples[0].detail
    assert set(result.closes) == {code}


def test_a_message_without_an_echo_is_lost() -> None:
    """Answers that are not the echo do not count."""

    async def mumbling(peer: ServerConnection) -> None:
        async for _ in peer:
            await peer.send("what?")

    assert failures(run_ws(mumbling, timeout_seconds=0.2)) == {Failure.TIMEOUT}


def test_a_restart_without_end_is_lost_in_time() -> None:
    """A server that answers every message with 1012 loses it at the time-out."""

    async def always(peer: ServerConnection) -> None:
        await peer.recv()
        await peer.close(1012)

    assert failures(run_ws(always, timeout_seconds=0.3, rate=10.0)) == {Failure.TIMEOUT}


@pytest.mark.parametrize(
    ("response", "failure"),
    [
        (GOOD, Failure.STATUS),
        (GOOD.replace(b"200 OK", b"503 Sorry"), Failure.STATUS),
        (b"HTTP/1.1 101 Switching\r\nupgrade: tea\r\n\r\n", Failure.MALFORMED),
        (b"hello\r\n\r\n", Failure.MALFORMED),
        (b"", Failure.CLOSED),
    ],
)
def test_handshakes_that_fail(response: bytes, failure: Failure) -> None:
    """A handshake that is refused, wrong, or cut off loses the message."""

    async def refusing(peer: Peer) -> None:
        await peer.request()
        peer.send(response)

    result, _ = run(refusing, Kind.WS)
    assert failures(result) == {failure}, result.samples[0].detail


def test_open_loop_over_websocket() -> None:
    """Messages go on leaving on a connection whose server stalls."""
    begun: list[float] = []

    async def stalling(peer: ServerConnection) -> None:
        async for message in peer:
            if not begun:
                begun.append(time.time())
            remaining = begun[0] + 0.6 - time.time()
            if remaining > 0:
                await after(remaining)
            await peer.send(message)

    result = run_ws(stalling, duration_seconds=0.8)
    assert failures(result) == {None}
    check_owed(result, begun[0] + 0.6)
