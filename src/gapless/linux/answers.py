"""Whether to wait for another answer of an app to its check than the one that it gave."""

from __future__ import annotations

from dataclasses import dataclass

PASSING = {408, 425, 429, 502, 503, 504}  # HTTP's own words for "later": waited for until the deadline
SETTLED = 5.0  # seconds of one and the same other answer, after which no better one is waited for


@dataclass
class Patience:
    """How long an answer has stayed the same that does not itself say that it will pass."""

    answer: object = None
    since: float = 0.0

    def is_over(self, status: int | None, who: str, now: float) -> bool:
        """Take in an answer of `who` (None: there was none) at `now`; whether it is the app's last word."""
        answer = None if status is None or status in PASSING else (status, who)
        if answer is None or answer != self.answer:
            self.answer, self.since = answer, now
        return answer is not None and now >= self.since + SETTLED
