"""A case of the battery, and what it may find."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gapless.conform.manager import Manager


class Outcome(enum.StrEnum):
    """What a case says about a server."""

    PASS = "pass"  # noqa: S105 -- no password
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"


class Failed(Exception):  # noqa: N818 -- a verdict, no error of ours
    """The server did what it should not; carries the evidence."""


class NotApplicable(Exception):  # noqa: N818 -- a verdict, too
    """The case is about something that this server or its app does not have; carries what."""


@dataclass(frozen=True)
class Case:
    """One trap. `run` returns the evidence of a server that passes, and raises Failed or NotApplicable.

    `alone`: it measures time, so that no other may run beside it.
    """

    number: str
    title: str
    run: Callable[[Manager], str]
    alone: bool

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.number.split("."))


@dataclass(frozen=True)
class Result:
    """What a case found, with the evidence, and how long that took."""

    case: Case
    outcome: Outcome
    evidence: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.case.number,
            "title": self.case.title,
            "outcome": str(self.outcome),
            "evidence": self.evidence,
            "seconds": round(self.seconds, 3),
        }


def case(number: str, title: str, *, alone: bool = False) -> Callable[[Callable[[Manager], str]], Case]:
    """Make a case of the function below."""
    return lambda run: Case(number, title, run, alone)


def check(good: object, evidence: str) -> None:
    """Raise Failed with the evidence, unless it is `good`."""
    if not good:
        raise Failed(evidence)
