"""Take in what our children leave behind, and end it: where no control group holds it together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Collection, Iterator

from gapless.linux import procfs
from gapless.linux.libc import checked, libc

PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37  # linux/prctl.h


def take_in(*, wanted: bool = True) -> None:
    """Become the parent of what our children leave, in the place of process 1; or no more. Raises OSError."""
    checked(libc.prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0))


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """End and reap every process that was started inside of the block, by whomever, when that is left.

    A block may be inside of another one.
    """
    before, was = {*procfs.children()}, ctypes.c_int()
    checked(libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(was), 0, 0, 0))
    take_in()
    try:
        yield
    finally:
        end_all(but=before)
        take_in(wanted=bool(was.value))


def end_all(but: Collection[int]) -> None:
    """Kill and reap our children `but` some, and whatever those leave."""
    while left := {*procfs.children()} - {*but}:
        for pid in left:
            end(pid)


def end(pid: int) -> None:
    """Kill and reap a child; what that leaves becomes ours."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
