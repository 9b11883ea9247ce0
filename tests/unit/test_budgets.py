"""Until when a drain lets a connection: what its client has sent in time counts, though nobody has read it yet."""

from __future__ import annotations

import socket

import pytest

from gapless.serve.busy import Kind, Work, unheard
from gapless.serve.settings import Settings

SETTINGS = Settings(app="app:app", linger=2.0, requests=10.0, streams=60.0)


class Connected:
    """A protocol, and its transport, on whose connection the client is the peer of `sock`."""

    def __init__(self, sock: socket.socket) -> None:
        self.transport = self
        self._sock = sock

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, _name: str) -> socket.socket:
        return self._sock


@pytest.mark.parametrize(("kind", "budget"), [(Kind.IDLE, 2.0), (Kind.UNREAD, 10.0), (Kind.REQUEST, 10.0)])
def test_a_word_that_waits_to_be_read_came_in_time(kind: Kind, budget: float) -> None:
    """Invariant 6: the app held up the loop until after the budget, and the client has sent something meanwhile."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        protocol, work = Connected(ours), Work(kind, object(), 0.0, 0.0)
        assert not work.is_over(protocol, SETTINGS, budget - 0.1)
        assert work.is_over(protocol, SETTINGS, budget)
        theirs.sendall(b"G")
        assert not work.is_over(protocol, SETTINGS, budget)


@pytest.mark.parametrize("kind", [Kind.REQUEST, Kind.STREAM])
def test_who_goes_on_to_send_ends_nevertheless(kind: Kind) -> None:
    """An upload without an end, or bytes while a response is under way, keep no instance for ever."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x")
        assert Work(kind, object(), 0.0, 59.9).is_over(Connected(ours), SETTINGS, 70.0)


def test_the_kernel_knows_who_has_spoken() -> None:
    """Invariant 6: a connection whose first bytes we have not read is none without a byte."""
    pairs = [socket.socketpair() for _ in range(3)]
    protocols = [Connected(ours) for ours, _ in pairs]
    pairs[1][1].sendall(b"GET / HTTP/1.1\r\n")
    assert unheard(protocols) == {protocols[1]}
    for pair in pairs:
        for end in pair:
            end.close()
