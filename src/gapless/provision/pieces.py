"""What every piece of an installation can say and do."""

from __future__ import annotations

from typing import Protocol


class Piece(Protocol):
    """A part of what `up` makes and `down` removes; each call can be repeated, or resumed after a kill.

    `make` and `remove` raise OSError when the system refuses, GaplessError when a program that they ask does.
    """

    def missing(self) -> list[str]:
        """What `make` would do, in sentences; nothing when all is as it should be."""

    def make(self) -> None:
        """Make what is missing."""

    def remove(self, *, data: bool) -> list[str]:
        """Remove what was made, with `data` also what the app itself keeps; what went."""
