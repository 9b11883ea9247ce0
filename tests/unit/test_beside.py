"""A second socket beside the one that instances have: what a look at theirs must not change."""

from __future__ import annotations

import os
import socket

from gapless.switch.manager import Instance, Role
from gapless.switch.systemd.beside import move_on


def test_nobody_who_shares_a_socket_blocks_in_accept_afterwards() -> None:
    """Invariant 1: O_NONBLOCK is of the open file description; a server without it that lost a race would freeze."""
    with socket.create_server(("127.0.0.1", 0)) as old, socket.create_server(("127.0.0.1", 0)) as new:
        addresses = ["{}:{}".format(*one.getsockname()) for one in (old, new)]
        for one in (old, new):
            one.setblocking(False)
        here = Instance("a", "r1", Role.LIVE, os.getpid(), since=0.0, ready=True)
        move_on(here, [here], addresses)
        assert not any(os.get_blocking(one.fileno()) for one in (old, new))
