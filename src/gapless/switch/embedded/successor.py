"""Another program in the supervisor's place: with its process id, its children and its sockets (execve(2))."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Mapping
from typing import NoReturn

from gapless.switch.embedded.spawn import CLEAR, FIRST

# Until the successor has handlers of its own, these would end it, and with it a drain would not take place.
HELD_BACK = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2))


def become(argv: list[str], sockets: Mapping[str, int]) -> NoReturn:
    """Execute `argv` in our place, with the `sockets` handed in as by systemd; raises OSError.

    All else closes, the lock of the home among it: whoever comes is as free as after a kill.
    """
    moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, CLEAR + len(sockets)) for one in sockets.values()]
    for place, source in enumerate(moved, FIRST):
        os.dup2(source, place)
    handed_in = {"LISTEN_FDS": str(len(moved)), "LISTEN_PID": str(os.getpid())}
    os.execve(argv[0], argv, os.environ | handed_in)  # noqa: S606 -- no shell is the point: the process id


def hold_back() -> None:
    """Keep signals for the successor, over its execve(2)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)


def listen_again() -> None:
    """Let the signals come that were held back: somebody handles them now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
