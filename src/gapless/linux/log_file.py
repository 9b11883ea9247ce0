"""The log file of a command that somebody else's code runs in.

The command has the file as its output, and may hand it to whoever it likes. So the file is bounded while the command
runs, and afterwards another file has its name and its last part.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from gapless.linux.libc import checked, libc
from gapless.linux.meanwhile import meanwhile

LARGEST = 16 << 20  # bytes of a log
KEPT = 1 << 20  # bytes of one that had grown too large
BLOCK = 512  # bytes, of st_blocks: stat(2)
PAGE = os.sysconf("SC_PAGESIZE")
PUNCH_HOLE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, fallocate(2)
LOOK_EVERY = 0.1  # seconds

_fallocate = getattr(libc, "fallocate64", libc.fallocate)  # not every C library has two
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


@contextlib.contextmanager
def logged(log: Path) -> Iterator[None]:
    """Keep the file `log` within bounds while a command appends to it inside; then detach it. Raises OSError."""
    try:
        with meanwhile(partial(_bound, log), LOOK_EVERY):
            yield
    finally:
        detach(log)


def detach(log: Path) -> None:
    """Put a copy of its end in the place of the file `log`: who has it open writes to nothing from now on.

    Raises OSError.
    """
    try:
        with log.open("rb") as file, log.with_name(f".{log.name}.new").open("wb") as fresh:
            start = max(0, file.seek(0, os.SEEK_END) - LARGEST)
            with contextlib.suppress(OSError):  # ENXIO: it is empty, or a hole up to its end, where we are
                file.seek(start, os.SEEK_DATA)
            fresh.write(file.read(LARGEST))
    except FileNotFoundError:  # it had nothing to say
        return
    Path(fresh.name).rename(log)


def _bound(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        found = log.stat()
        if found.st_blocks * BLOCK > LARGEST:  # not its size, which the command sets as it likes
            _punch(log, (found.st_size - KEPT) // PAGE * PAGE)


def _punch(log: Path, until: int) -> None:
    """Free what the first `until` bytes of `log` take on the disk: who appends meanwhile loses nothing by it."""
    with log.open("r+b") as file:
        checked(_fallocate(file.fileno(), PUNCH_HOLE, 0, until), str(log))
