"""The log file of each release: followed line by line, and cut before it fills the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

LARGEST = 20_000_000  # bytes, then the log is copied to `<release>.log.1` and starts again
CHUNK = 1 << 20
LONGEST_LINE = 1 << 16


class Follower:
    """Copies new lines of one release's log to `emit`, each as `<release> | line`; starts at its present end.

    The one that `cuts` keeps the file small: the supervisor's. Two that cut would overwrite each other's copy.
    """

    def __init__(self, path: Path, release: str, emit: Callable[[str], None], *, cuts: bool) -> None:
        self._path = path
        self._release = release
        self._emit = emit
        self._cuts = cuts
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        self._offset = os.fstat(self._file).st_size
        self._partial = b""

    def poll(self) -> None:
        """Emit the lines that were completed since the last time."""
        if os.fstat(self._file).st_size < self._offset:
            self._offset = 0  # somebody else cut it
        while chunk := os.pread(self._file, CHUNK, self._offset):
            self._offset += len(chunk)
            *lines, self._partial = (self._partial + chunk).split(b"\n")
            if len(self._partial) > LONGEST_LINE:
                lines, self._partial = [*lines, self._partial], b""
            for line in lines:
                self._emit(f"{self._release} | {line.decode('utf-8', 'replace')}")
        if self._cuts and self._offset > LARGEST:
            self._cut()

    def close(self) -> None:
        """Emit an unfinished line, and let go of the file."""
        if self._partial:
            self._emit(f"{self._release} | {self._partial.decode('utf-8', 'replace')}")
        os.close(self._file)

    def _cut(self) -> None:
        # Instances append (O_APPEND), so their next write goes to the new end. A line written between the
        # copy and the cut is lost from the file; the loop in poll makes that a matter of microseconds.
        try:
            shutil.copyfile(self._path, self._path.with_name(f"{self._path.name}.1"))
        except OSError as error:  # a full disk, most likely: then the space is needed more than the old lines
            self._emit(f"{self._release} | gapless: {LARGEST} bytes of this log were dropped: {error}")
        os.ftruncate(self._file, 0)
        self._offset = 0
