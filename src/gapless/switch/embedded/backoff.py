"""How long to wait before the current release is started again."""

from __future__ import annotations

SHORTEST = 0.1  # seconds, doubled at each failure
LONGEST = 10.0
LONG_LIFE = 30.0  # an instance that lived longer did not fail at its start


class Backoff:
    """Counts the starts of one release; another release begins anew."""

    def __init__(self) -> None:
        self.release = ""
        self._starts = 0

    def delay(self, release: str) -> float:
        """Seconds to wait before this start of `release`."""
        if release != self.release:
            self.release, self._starts = release, 0
        delay = min(LONGEST, SHORTEST * 2.0 ** min(self._starts, 16))
        self._starts += 1
        return delay

    def ended(self, release: str, lived: float) -> None:
        """Take note that an instance of `release` ended after `lived` seconds."""
        if release == self.release and lived > LONG_LIFE:
            self._starts = 0
