"""The phases of a deploy, and what requests met that were under way in them. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gapless.prove.kinds import Sample
from gapless.prove.latency import Latency, latency_of


class Role(StrEnum):
    """What a phase is to a comparison."""

    BASELINE = "baseline"  # what is usual: the measure
    SWITCHOVER = "switchover"  # a release takes another's place: what is measured
    OTHER = "other"  # neither: a build keeps the machine busy, a watch looks on


@dataclass(frozen=True)
class Phase:
    """A named part of a deploy (unix seconds), and the release it was about ('' if none)."""

    name: str
    start: float
    end: float
    release: str = ""
    role: Role = Role.OTHER


@dataclass(frozen=True)
class Share:
    """Some of the requests: the latency of those that were answered, and how many were `lost`."""

    latency: Latency
    lost: int

    @property
    def requests(self) -> int:
        return self.latency.count + self.lost


@dataclass(frozen=True)
class Split:
    """All requests, each in one share; `seconds` is what the `switchovers` took together.

    - `switchover`: under way at any moment of one, answered or not.
    - `baseline`: over before the first one, and under way in no phase but the baseline. A server that is slow after a
      switchover does not soften the measure.
    - `rest`: between switchovers, after them, during a build.
    """

    baseline: Share
    switchover: Share
    rest: Share
    switchovers: int
    seconds: float


class _Windows:
    """Spans of time, those that touch made one."""

    def __init__(self, spans: Iterable[tuple[float, float]]) -> None:
        self.starts: list[float] = []
        self.ends: list[float] = []
        for start, end in sorted(spans):
            if self.ends and start <= self.ends[-1]:
                self.ends[-1] = max(self.ends[-1], end)
            else:
                self.starts.append(start)
                self.ends.append(end)

    @property
    def seconds(self) -> float:
        return sum(self.ends) - sum(self.starts)

    def touch(self, sample: Sample) -> bool:
        """Whether the request was under way at any moment of one."""
        last = bisect_right(self.starts, sample.ended_at) - 1
        return last >= 0 and self.ends[last] >= sample.scheduled_at


def split(samples: Iterable[Sample], phases: Sequence[Phase]) -> Split | None:
    """Share the requests out; None without a switchover, when there is nothing to compare."""
    switchovers = _Windows((one.start, one.end) for one in phases if one.role is Role.SWITCHOVER)
    if not switchovers.starts:
        return None
    others = _Windows((one.start, one.end) for one in phases if one.role is Role.OTHER)
    baseline: list[Sample] = []
    inside: list[Sample] = []
    rest: list[Sample] = []
    for sample in samples:
        if switchovers.touch(sample):
            inside.append(sample)
        elif sample.ended_at < switchovers.starts[0] and not others.touch(sample):
            baseline.append(sample)
        else:
            rest.append(sample)
    return Split(_share(baseline), _share(inside), _share(rest), len(switchovers.starts), switchovers.seconds)


def during(samples: Iterable[Sample], phases: Iterable[Phase]) -> list[tuple[Phase, Share]]:
    """Each phase with the requests that were under way at any moment of it."""
    ordered = sorted(samples, key=lambda sample: sample.scheduled_at)
    due = [sample.scheduled_at for sample in ordered]
    longest = max((sample.latency_seconds for sample in ordered), default=0.0)
    return [
        (
            phase,
            _share(
                [
                    sample
                    for sample in ordered[bisect_left(due, phase.start - longest) : bisect_right(due, phase.end)]
                    if sample.ended_at >= phase.start
                ]
            ),
        )
        for phase in phases
    ]


def _share(samples: Sequence[Sample]) -> Share:
    answered = [sample for sample in samples if not sample.failure]
    return Share(latency_of(answered), len(samples) - len(answered))
