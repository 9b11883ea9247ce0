"""What a command of a release writes into its log, told as it writes it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gapless.linux.meanwhile import meanwhile

LOOK_EVERY = 0.2  # seconds
MOST = 1 << 16  # bytes that are told at a time: who says more is not listened to for longer


@contextlib.contextmanager
def followed(log: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Give each line that comes into `log` inside of the block to `tell`, from a thread of its own."""
    follower = _Follower(log, tell)
    try:
        with meanwhile(follower.look, LOOK_EVERY):
            yield
    finally:
        follower.look()
        follower.end()


class _Follower:
    def __init__(self, log: Path, tell: Callable[[str], None]) -> None:
        self._log = log
        self._tell = tell
        self._at = log.stat().st_size if log.exists() else 0
        self._begun = b""

    def look(self) -> None:
        """Tell the lines that were completed since the last time."""
        try:
            with self._log.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                if end < self._at:  # somebody emptied it
                    self._at, self._begun = 0, b""
                if end - self._at > MOST:
                    self._begun = b"[...]"
                    self._at = end - MOST
                file.seek(self._at)
                text = file.read(end - self._at)
        except OSError:
            return  # it is not there yet
        self._at = end
        *lines, self._begun = (self._begun + text).split(b"\n")
        for line in lines:
            self._tell(line.decode("utf-8", "replace"))
        if len(self._begun) > MOST:
            self.end()

    def end(self) -> None:
        """Tell what has no end of its line."""
        if self._begun:
            self._tell(self._begun.decode("utf-8", "replace"))
        self._begun = b""
