"""One supervisor for each home, and names of sockets that are short enough for bind(2)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from gapless.errors import GaplessError
from gapless.switch.embedded.home import EmbeddedHome

LOCK_PATIENCE = 1.0  # seconds: a killed supervisor's half-started child holds the lock until its record is written


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """A name of at most 107 bytes for the Unix socket `path`, good inside the block (by /proc/self/fd, proc(5))."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


@contextlib.contextmanager
def locked(home: EmbeddedHome) -> Iterator[None]:
    """Be the only supervisor of `home`; raises GaplessError that names the pid of the other (flock(2)).

    A child between fork and exec still has this descriptor: whoever gets the lock therefore finds the
    record of every instance that a killed supervisor started.
    """
    descriptor = os.open(home.supervised, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + LOCK_PATIENCE
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                hint = f"it is in use already: deploy with `gapless deploy`, or stop it with `kill {pid}`"
                raise GaplessError("supervise", str(home.root), f"pid {pid} does so already", hint)
            time.sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
