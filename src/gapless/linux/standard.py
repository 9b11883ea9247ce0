"""The standard descriptors: open whatever the caller closed, and stop writing to what takes nothing."""

from __future__ import annotations

import os
import sys


def open_closed() -> None:
    """Open each standard descriptor that is closed on /dev/null; to be called before anything else opens a file.

    Otherwise a lock, a socket or a log gets its number, and what is said to nobody is written into it.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # the lowest free number, open(2)
    # Python leaves None where it found nothing.
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 -- a descriptor, as long as we live
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def give_up(descriptor: int) -> None:
    """Let standard output or error go to /dev/null from now on, what is still buffered included: nobody takes it."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
