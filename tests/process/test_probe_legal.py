"""What is no loss: the probe must not cry wolf."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
import time
from statistics import median

import h11
import pytest

from gapless.prove.client import Dialer
from gapless.prove.kinds import Kind
from tests.process.probed import DEADLINE, GOOD, HTTP, Peer, answering, failures, plan_for, run


@pytest.mark.parametrize("kind", HTTP)
def test_a_good_server_loses_nothing(kind: Kind) -> None:
    """Every kind is answered by a good server, with status, release and a small latency."""
    result, _ = run(answering, kind)
    assert failures(result) == {None}
    assert len(result.samples) == 15
    assert {(sample.status, sample.release) for sample in result.samples} == {(200, "r1")}
    assert median(sample.latency_seconds for sample in result.samples) < 0.1, "its own pauses do not count"


def test_new_connects_each_time_and_keep_alive_does_not() -> None:
    """`new` is a connection for each request; `get` and `post` keep a few and take turns, unless all are busy."""
    assert run(answering, Kind.NEW)[1].connections == 15
    assert 4 <= run(answering, Kind.GET)[1].connections < 15
    assert 2 <= run(answering, Kind.POST, lanes=2)[1].connections < 15


@pytest.mark.parametrize("kind", [Kind.POST, Kind.SLOW])
def test_acknowledged_ids_are_in_the_bodies(kind: Kind) -> None:
    """Each post and slow upload carries an id of its own as JSON, and the acknowledged ones are returned."""
    result, server = run(answering, kind)
    sent = [json.loads(body)["id"] for body in server.bodies]
    assert sorted(result.acknowledged) == sorted(sent)
    assert len(set(sent)) == 15


def test_slow_upload_is_slow() -> None:
    """The body comes in pieces over the time the plan says, the id in the first."""
    pieces: list[tuple[float, bytes]] = []

    async def watch(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        while not pieces or not pieces[-1][1].endswith(b'"}'):
            pieces.append((time.monotonic(), await peer.reader.read(65536)))
        peer.send()

    result, _ = run(watch, Kind.SLOW, rate=1.0, duration_seconds=0.6, upload_seconds=0.4)
    assert failures(result) == {None}
    assert len(pieces) >= 4
    assert pieces[-1][0] - pieces[0][0] == pytest.approx(0.4, abs=0.15)
    assert result.samples[0].id.encode() in pieces[0][1]


def test_pause_sends_only_after_its_pause() -> None:
    """`pause` connects when it is due and sends nothing for the time the plan says."""
    waits: list[float] = []

    async def watch(peer: Peer) -> None:
        accepted = time.monotonic()
        await peer.request()
        waits.append(time.monotonic() - accepted)
        peer.send()

    run(watch, Kind.PAUSE)
    assert min(waits) > 0.15


@pytest.mark.parametrize("kind", [Kind.GET, Kind.POST])
def test_connection_close_is_obeyed(kind: Kind) -> None:
    """After `Connection: close` the next request takes a new connection; nothing is lost."""

    async def closing(peer: Peer) -> None:
        await peer.request()
        peer.send(GOOD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))

    result, server = run(closing, kind)
    assert failures(result) == {None}
    assert server.connections == 15


@pytest.mark.parametrize("farewell", [b"", b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"])
def test_an_idle_connection_may_be_closed(farewell: bytes) -> None:
    """A server that closes idle connections, with or without a word, is not blamed: the client has seen it."""

    async def impatient(peer: Peer) -> None:
        await peer.request()
        peer.send()
        await peer.writer.drain()
        peer.send(farewell)

    result, server = run(impatient, Kind.POST, rate=20.0, duration_seconds=0.3, lanes=1)
    assert failures(result) == {None}
    assert server.connections == len(result.samples)


def test_an_end_that_the_kernel_has_is_seen_before_sending() -> None:
    """A FIN that has arrived counts as seen even if the event loop has not come round to it."""

    def answer_and_close(listening: socket.socket) -> None:
        peer, _ = listening.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(GOOD)

    async def check(url: str) -> None:
        plan = plan_for(url, Kind.GET)
        dialer = Dialer(plan, "127.0.0.1")
        lane = await dialer.dial()
        lane.send(h11.Request(method="GET", target="/", headers=[("host", "test")]), h11.EndOfMessage())
        await lane.outcome
        assert lane.renew()
        arrival = select.poll()
        arrival.register(lane.fileno(), select.POLLIN)
        arrival.poll(DEADLINE * 1000)  # blocks the event loop on purpose
        assert not lane.outcome.done()
        assert not lane.usable()
        await dialer.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer_and_close, args=(listening,))
        thread.start()
        asyncio.run(check(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        thread.join(DEADLINE)
