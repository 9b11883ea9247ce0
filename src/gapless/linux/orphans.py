"""Take in what our children leave behind, and end it: where no control group holds it together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator

from gapless.linux import procfs

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


def take_in(*, wanted: bool = True) -> None:
    """Become the parent of what our children leave, in the place of process 1; or no more. Raises OSError."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """End and reap every process that was started inside of the block, by whomever, when that is left."""
    before = {*procfs.children()}
    take_in()
    try:
        yield
    finally:
        while left := {*procfs.children()} - before:
            for pid in left:
                end(pid)
        take_in(wanted=False)


def end(pid: int) -> None:
    """Kill and reap a child; what that leaves becomes ours."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
