"""Each way to lose a request is seen as what it is: a proof that cannot fail proves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket

import pytest

from gapless.prove.kinds import Failure, Kind, lost_to
from gapless.prove.probe import probe
from tests.process.probed import GOOD, HTTP, Peer, after, failures, plan_for, run


def test_refused() -> None:
    """Nobody listens: everything is lost, and that is a result and not an error."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    for kind in set(Kind) - {Kind.ASSET}:  # those come with a page
        result = asyncio.run(probe(plan_for(url, kind)))
        assert failures(result) == {Failure.REFUSED}, kind


@pytest.mark.parametrize("kind", HTTP)
def test_reset(kind: Kind) -> None:
    """A reset after the request was read."""

    async def resetting(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    result, _ = run(resetting, kind)
    assert failures(result) == {Failure.RESET}
    assert result.acknowledged == []


@pytest.mark.parametrize("kind", HTTP)
def test_closed(kind: Kind) -> None:
    """An orderly close in place of the response."""

    async def closing(peer: Peer) -> None:
        await peer.request()

    assert failures(run(closing, kind)[0]) == {Failure.CLOSED}


def test_keep_alive_closed_under_a_request() -> None:
    """A connection that served one request and is closed under the second loses it: the probe does not retry."""

    async def second_time_unlucky(peer: Peer) -> None:
        await peer.request()
        peer.send()
        await peer.request()

    result, server = run(second_time_unlucky, Kind.POST, lanes=1)
    assert failures(result) == {None, Failure.CLOSED}
    assert len(server.bodies) == len(result.samples), "each request was sent once"
    assert len(result.acknowledged) < len(server.bodies)


def test_timeout() -> None:
    """A server that reads and never answers."""

    async def hanging(peer: Peer) -> None:
        while await peer.request() is not None:
            pass

    for kind in HTTP:
        result, _ = run(hanging, kind, timeout_seconds=0.1)
        assert failures(result) == {Failure.TIMEOUT}, kind
        assert min(sample.latency_seconds for sample in result.samples) >= 0.1


@pytest.mark.parametrize("status", [302, 404, 500, 502, 503])
def test_status(status: int) -> None:
    """Any complete response that is not 2xx, with its release."""

    async def failing(peer: Peer) -> None:
        while await peer.request() is not None:
            peer.send(GOOD.replace(b"200 OK", b"%d Sorry" % status))

    result, _ = run(failing, Kind.GET)
    assert failures(result) == {Failure.STATUS}
    assert {(sample.status, sample.release) for sample in result.samples} == {(status, "r1")}


@pytest.mark.parametrize(
    "part",
    [
        GOOD[:-1],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-le",
    ],
)
def test_truncated(part: bytes) -> None:
    """A response that ends too early: by length, in chunks, inside its head."""

    async def cutting(peer: Peer) -> None:
        await peer.request()
        peer.send(part)

    assert failures(run(cutting, Kind.POST)[0]) == {Failure.TRUNCATED}


def test_responses_that_are_bad_twice() -> None:
    """A 502 cut short is a 502; a response that stops half-way and stays open is a time-out."""

    async def half(peer: Peer) -> None:
        if peer.number == 1:
            await peer.request()
            peer.send(GOOD[:-1])
            await peer.reader.read()  # until the client is gone
        else:
            await peer.request()
            peer.send(GOOD[:-1].replace(b"200 OK", b"502 Bad"))

    result, _ = run(half, Kind.NEW, timeout_seconds=0.2)
    assert result.samples[0].failure is Failure.STATUS
    assert {sample.failure for sample in result.samples} == {Failure.STATUS, Failure.TIMEOUT}


def test_truncated_by_a_reset() -> None:
    """A reset in the middle of the response: Linux hands over the first part before it tells of the reset."""

    async def resetting(peer: Peer) -> None:
        await peer.request()
        peer.send(GOOD[:-1])
        peer.reset()

    assert failures(run(resetting, Kind.NEW)[0]) == {Failure.TRUNCATED}


def test_a_late_answer_is_not_given_to_the_next_request() -> None:
    """A connection whose request timed out is not used again."""

    async def late(peer: Peer) -> None:
        while await peer.request() is not None:
            if peer.number == 1:
                await after(0.3)
            peer.send()

    result, server = run(late, Kind.GET, lanes=1, timeout_seconds=0.2, rate=10.0, duration_seconds=0.5)
    assert [sample.failure for sample in sorted(result.samples, key=lambda one: one.scheduled_at)] == [
        Failure.TIMEOUT,
        *[None] * 4,
    ]
    assert server.connections >= 2


def test_malformed() -> None:
    """Bytes that are not HTTP."""

    async def babbling(peer: Peer) -> None:
        await peer.request()
        peer.send(b"220 mail.example.org ESMTP\r\n\r\n")
        await peer.reader.read()

    assert failures(run(babbling, Kind.NEW)[0]) == {Failure.MALFORMED}


def test_accepted_but_unread_is_seen() -> None:
    """A server that closes connections on which no request was read yet loses `pause`, and only that."""

    async def impatient(peer: Peer) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await peer.request()
                peer.send()

    assert failures(run(impatient, Kind.PAUSE)[0]) == {Failure.CLOSED}
    assert failures(run(impatient, Kind.NEW)[0]) == {None}


def test_upload_cut_in_the_middle_is_seen() -> None:
    """A reset while the body is on its way loses `slow` at once, not at its time-out."""

    async def cutting(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.reader.read(1)
        peer.reset()

    result, _ = run(cutting, Kind.SLOW)
    assert failures(result) == {Failure.RESET}
    assert max(sample.latency_seconds for sample in result.samples) == 0.0, "before its last byte was due"


def test_overrun() -> None:
    """What cannot be sent is not left out: it counts as lost to the probe's own limit."""

    async def hanging(peer: Peer) -> None:
        await peer.reader.read()

    result, server = run(hanging, Kind.NEW, max_under_way=4, timeout_seconds=0.5)
    counts = [sample.failure for sample in result.samples]
    assert (counts.count(Failure.OVERRUN), counts.count(Failure.TIMEOUT)) == (11, 4)
    assert server.connections == 4


@pytest.mark.parametrize(
    ("number", "failure"),
    [
        (errno.ECONNREFUSED, Failure.REFUSED),
        (errno.ECONNRESET, Failure.RESET),
        (errno.EPIPE, Failure.RESET),
        (errno.ETIMEDOUT, Failure.TIMEOUT),
        (errno.ENETUNREACH, Failure.UNREACHABLE),
        (errno.EMFILE, Failure.OVERRUN),
        (errno.EADDRNOTAVAIL, Failure.OVERRUN),
    ],
)
def test_socket_errors(number: int, failure: Failure) -> None:
    """Errors of sockets are told apart: the server's from the network's from the probe's own limits."""
    assert lost_to(OSError(number, "text")).failure is failure
