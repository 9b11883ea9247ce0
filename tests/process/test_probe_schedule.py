"""Requests leave on schedule, and nothing stays behind."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from gapless.errors import GaplessError
from gapless.prove.client import Dialer
from gapless.prove.kinds import Kind, Result, Sample
from gapless.prove.probe import probe
from tests.process.probed import DEADLINE, Peer, after, answering, check_owed, failures, plan_for, run, serving


@pytest.mark.parametrize("kind", [Kind.NEW, Kind.GET, Kind.POST, Kind.PAUSE])
def test_open_loop(kind: Kind) -> None:
    """While the server stalls for 1 s requests go on leaving, and each one's latency counts from its own moment."""
    stalled: list[float] = []

    async def stalling(peer: Peer) -> None:
        while await peer.request() is not None:
            if not stalled:
                stalled.append(time.time())
            remaining = stalled[0] + 1.0 - time.time()
            if remaining > 0:
                await after(remaining)
            peer.send()

    result, _ = run(stalling, kind, rate=50.0, duration_seconds=1.2)
    assert failures(result) == {None}
    assert len(result.samples) == 60
    end = stalled[0] + 1.0
    check_owed(result, end)
    assert sum(sample.latency_seconds > 0.1 for sample in result.samples) > 30


def test_stop_ends_it_and_lets_those_under_way_finish() -> None:
    """Once stopped no request leaves, those under way are answered, and the result has them."""

    async def stopped() -> None:
        stop = asyncio.Event()
        release = asyncio.Event()
        seen: list[Sample] = []

        async def held(peer: Peer) -> None:
            await peer.request()
            await release.wait()
            peer.send()

        def release_once_stopped() -> None:
            stop.set()
            asyncio.get_running_loop().call_soon(release.set)

        async with serving(held) as server:
            asyncio.get_running_loop().call_later(0.2, release_once_stopped)
            plan = plan_for(server.url, Kind.NEW, rate=50.0, duration_seconds=None)
            result = await asyncio.wait_for(probe(plan, seen.append, stop), DEADLINE)
        assert failures(result) == {None}
        lasted = result.ended_at - result.started_at
        assert 5 < len(result.samples) < 50 * lasted + 5
        assert seen == result.samples
        assert 0.15 < lasted < 5

    asyncio.run(stopped())


@pytest.mark.parametrize("cancelled", [False, True])
def test_no_connection_is_left_open(cancelled: bool) -> None:
    """Ended or cancelled, the probe closes its busy and its idle connections: the server sees the end of each."""

    async def check() -> None:
        ended = asyncio.Semaphore(0)
        answering = True

        async def answering_at_first(peer: Peer) -> None:
            while await peer.request() is not None:
                if answering:
                    peer.send()
            ended.release()

        async with serving(answering_at_first) as server, asyncio.timeout(DEADLINE):
            # First connections that are idle, then some that wait for an answer.
            gets = plan_for(server.url, Kind.GET, duration_seconds=None if cancelled else 0.15)
            task = asyncio.create_task(probe(gets))
            if cancelled:
                while len(server.bodies) < 5:
                    await asyncio.wait((task,), timeout=0.01)
                task.cancel()
            await asyncio.wait((task,))
            assert task.cancelled() is cancelled
            for _ in range(server.connections):
                await ended.acquire()
            idle = server.connections
            assert idle >= 4

            answering = False
            hung = asyncio.create_task(probe(plan_for(server.url, Kind.NEW, duration_seconds=None)))
            while server.connections < idle + 4:
                await asyncio.wait((hung,), timeout=0.01)
            hung.cancel()
            await asyncio.wait((hung,))
            for _ in range(server.connections - idle):
                await ended.acquire()

    asyncio.run(check())


def test_nodelay_is_set() -> None:
    """Nagle's algorithm is off on the probe's sockets: it would add 40 ms that the server did not cause."""

    async def check() -> None:
        async with serving(answering) as server:
            dialer = Dialer(plan_for(server.url, Kind.GET), "127.0.0.1")
            lane = await dialer.dial()
            with socket.socket(fileno=socket.dup(lane.fileno())) as sock:
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            await dialer.close()

    asyncio.run(check())


def test_a_name_with_two_addresses_finds_the_one_that_listens() -> None:
    """`localhost` may mean ::1 too; the probe talks to the address that answers."""

    async def check() -> Result:
        async with serving(answering) as server:
            return await probe(plan_for(server.url.replace("127.0.0.1", "localhost"), Kind.NEW))

    assert failures(asyncio.run(check())) == {None}


def test_a_host_that_does_not_exist_is_an_error() -> None:
    """A name that cannot be looked up is wrong use, not a loss."""
    with pytest.raises(GaplessError, match="cannot look up"):
        asyncio.run(probe(plan_for(f"http://{'x' * 64}.example", Kind.NEW)))
