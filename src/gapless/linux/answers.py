"""What an app's answer to its check means: whether to wait for a better one, and what to try."""

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


def hint(status: int, host: str, release: str) -> str:
    """What to try when `release` ("" is none) answered its check, asked for as `host`, with `status`, not 2xx."""
    if status in PASSING:
        return "it says that it will pass: does what the app depends on answer? [check] timeout is how long to wait"
    if status < 400:
        return "name the path that answers itself, or set the check's host to the one the app expects"
    if status < 500:
        return f"name a path that a GET without a login gets; if the app checks host names, [check] host (sent: {host})"
    if release:
        return "its log says why; it may write to $GAPLESS_SHARED alone: under systemd [sandbox] says to what else"
    return "its log says why"
