"""How much may come into a release, whichever way: an archive, a directory, a revision, an operator's spool."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO

from gapless.errors import GaplessError

MAX_BYTES = 8 << 30
MAX_MEMBERS = 500_000  # files, links and directories
DEEPEST = 200  # directories, one in the other
PART = 1 << 20  # bytes that are copied at a time


class Budget:
    """What is left of it; `refusal` makes the error of a cause, which is raised when there is nothing left."""

    def __init__(self, refusal: Callable[[str], GaplessError]) -> None:
        self._refusal = refusal
        self._bytes = MAX_BYTES
        self._members = MAX_MEMBERS
        self._directories = {""}

    def enter(self, name: str, size: int = 0) -> None:
        """Count the file or directory `name` (relative), of `size` bytes, and the directories that it needs first."""
        parent = os.path.dirname(name)  # noqa: PTH120 -- of half a million names
        if parent not in self._directories:
            if parent.count("/") >= DEEPEST:
                raise self._refusal(f"{name[:100]!r}… is below more than {DEEPEST} directories")
            self.enter(parent)
            self._directories.add(parent)
        self._members -= 1
        if self._members < 0:
            raise self._refusal(f"it holds more than {MAX_MEMBERS} files and directories")
        self.spend(size)

    def spend(self, size: int) -> None:
        """Count `size` bytes more."""
        self._bytes -= size
        if self._bytes < 0:
            raise self._refusal(f"it holds more than {MAX_BYTES >> 30} GiB")

    def copy(self, file: IO[bytes], output: IO[bytes]) -> None:
        """Copy all of `file`, however much that becomes meanwhile."""
        while part := file.read(PART):
            self.spend(len(part))
            output.write(part)
