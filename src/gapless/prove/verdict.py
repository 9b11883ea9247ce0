"""What a probe's samples prove: pure arithmetic on a Result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gapless.prove.kinds import MOST_RELEASES, Failure, Kind, Result, Sample
from gapless.prove.latency import Latency, latency_of, milliseconds

T = TypeVar("T")

LISTED_LOSSES = 100
MISSING = 404


@dataclass(frozen=True)
class ReleaseSpan:
    """A release and the `count` answers it gave; first and last are when it answered (unix seconds)."""

    release: str
    first_seen: float
    last_seen: float
    count: int


@dataclass(frozen=True)
class Assets:
    """Files that pages referred to: how many were `fetched`, and how many of these were `missing` (404)."""

    fetched: int
    missing: int


@dataclass(frozen=True)
class Verdict:
    """What a probe proves. Times in unix seconds, durations in seconds; see `to_json` for each field's sense."""

    started_at: float
    ended_at: float
    requests: int
    lost: int
    delayed: int
    max_latency_seconds: float | None
    lost_by_failure: Mapping[Failure, int]
    lost_by_status: Mapping[int, int]
    lost_by_kind: Mapping[Kind, int]
    losses: tuple[Sample, ...]
    restarted: int
    closes: Mapping[int, int]
    latency: Latency
    latency_by_kind: Mapping[Kind, Latency]
    probe_late: Latency
    releases: tuple[ReleaseSpan, ...]
    assets: Assets | None = None

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing delayed, and something was sent: no requests, or pages without files, prove nothing."""
        proves = self.requests > 0 and (self.assets is None or self.assets.fetched > 0)
        return proves and self.lost == 0 and self.delayed == 0

    @property
    def bound(self) -> str:
        """What the count of losses says about the loss rate, as a sentence without a full stop."""
        return bound(self.requests, self.lost)

    @property
    def listed_releases(self) -> Sequence[ReleaseSpan]:
        """The first ones of `releases`: a server may call itself another with each answer."""
        return self.releases[:MOST_RELEASES]

    def to_json(self) -> dict[str, object]:
        """The verdict as JSON values; keys are only ever added. Times are unix seconds, latencies milliseconds.

        - `ok`: nothing lost, nothing delayed, and something sent. `bound`: that, as a sentence.
        - `started_at`, `ended_at`: of the probe.
        - `requests`: all that were due. `lost`: those without a complete, good response in time.
        - `lost_by_failure`, `lost_by_status` (when there was a response), `lost_by_kind`: counts of `lost`.
        - `losses`: the first 100 of them: `at` (when due), `after_ms`, `kind`, `failure`, `status` (0: none),
          `detail`, `release` (empty: not known), `id` (of a post or slow), `asked` (method and URL).
        - `max_latency_ms`: the bound that was given, or null. `delayed`: answered, but slower than that.
        - `restarted`: WebSocket connections closed with 1012 (legal). `closes`: all that the server closed, by code.
        - `latency_ms`: of the answered requests, from the moment they were due; `latency_by_kind_ms`: by kind;
          each with `count`, `p50`, `p99`, `p99.9`, `max`.
        - `probe_late_ms`: the part of these latencies that is the probe's own lateness to start a request.
        - `assets`: null without pages; else how many files that they refer to were `fetched`, and how many of them
          were `missing` (404; these are lost, too).
        - `releases`: in the order they were first seen: `release`, `first_seen`, `last_seen`, `count`.
        """
        return {
            "ok": self.ok,
            "bound": self.bound,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "requests": self.requests,
            "lost": self.lost,
            "lost_by_failure": {str(key): count for key, count in self.lost_by_failure.items()},
            "lost_by_status": {str(key): count for key, count in self.lost_by_status.items()},
            "lost_by_kind": {str(key): count for key, count in self.lost_by_kind.items()},
            "losses": [_loss(sample) for sample in self.losses],
            "max_latency_ms": None if self.max_latency_seconds is None else milliseconds(self.max_latency_seconds),
            "delayed": self.delayed,
            "restarted": self.restarted,
            "closes": {str(code): count for code, count in self.closes.items()},
            "latency_ms": self.latency.to_json(),
            "latency_by_kind_ms": {str(kind): one.to_json() for kind, one in self.latency_by_kind.items()},
            "probe_late_ms": self.probe_late.to_json(),
            "assets": {"fetched": self.assets.fetched, "missing": self.assets.missing} if self.assets else None,
            "releases": [
                {
                    "release": span.release,
                    "first_seen": span.first_seen,
                    "last_seen": span.last_seen,
                    "count": span.count,
                }
                for span in self.listed_releases
            ],
        }


@dataclass(frozen=True)
class Windowed:
    """Requests that were under way inside some windows of time (switchovers), against all others.

    The claim of a handover: `inside.max` is no higher than `outside.p999`, and `lost_inside` is 0.
    """

    inside: Latency
    outside: Latency
    lost_inside: int
    lost_outside: int


def bound(requests: int, lost: int) -> str:
    """What `lost` of `requests` says about the loss rate, as a sentence without a full stop."""
    if requests == 0:
        return "no request was sent, so nothing is proven"
    if lost:
        return f"{lost:,} of {requests:,} requests were lost ({lost / requests:.2%})"
    # The rule of three: at a loss rate of 3/N, N requests in a row pass with a probability of 5 %.
    return (
        f"{requests:,} requests without a loss: "
        f"the loss rate is below {_percent(min(3 / requests, 1.0))} (3/{requests:,}) with 95 % confidence"
    )


def judge(result: Result, max_latency_seconds: float | None = None) -> Verdict:
    """The verdict on a result; with a bound, answers slower than it count as delayed, and it is not ok."""
    samples = result.samples
    losses = sorted((sample for sample in samples if sample.failure), key=lambda sample: sample.ended_at)
    answered = [sample for sample in samples if not sample.failure]
    bound = float("inf") if max_latency_seconds is None else max_latency_seconds
    return Verdict(
        started_at=result.started_at,
        ended_at=result.ended_at,
        requests=len(samples),
        lost=len(losses),
        delayed=sum(sample.latency_seconds > bound for sample in answered),
        max_latency_seconds=max_latency_seconds,
        lost_by_failure=_ranked(sample.failure for sample in losses if sample.failure),
        lost_by_status=_ranked(sample.status for sample in losses if sample.status),
        lost_by_kind=_ranked(sample.kind for sample in losses),
        losses=tuple(losses[:LISTED_LOSSES]),
        restarted=result.closes.get(1012, 0),
        closes=dict(result.closes),
        latency=latency_of(answered),
        latency_by_kind={
            kind: latency_of([sample for sample in answered if sample.kind is kind])
            for kind in Kind
            if any(sample.kind is kind for sample in samples)
        },
        probe_late=latency_of(samples, lambda sample: sample.late_seconds),
        releases=_releases(answered),
        assets=_assets(samples),
    )


def windowed(
    samples: Iterable[Sample],
    windows: Sequence[tuple[float, float]],
    seconds: Callable[[Sample], float] = lambda sample: sample.latency_seconds,
) -> Windowed:
    """Split samples by whether they were under way at any moment of a window (start, end; unix seconds).

    `seconds` says what counts as the latency of a sample.
    """
    inside: list[Sample] = []
    outside: list[Sample] = []
    for sample in samples:
        touches = any(sample.scheduled_at <= end and sample.ended_at >= start for start, end in windows)
        (inside if touches else outside).append(sample)
    return Windowed(
        inside=latency_of([sample for sample in inside if not sample.failure], seconds),
        outside=latency_of([sample for sample in outside if not sample.failure], seconds),
        lost_inside=sum(sample.failure is not None for sample in inside),
        lost_outside=sum(sample.failure is not None for sample in outside),
    )


def _assets(samples: Sequence[Sample]) -> Assets | None:
    if not any(sample.kind is Kind.PAGE for sample in samples):
        return None
    fetched = [sample for sample in samples if sample.kind is Kind.ASSET]
    return Assets(len(fetched), sum(sample.status == MISSING for sample in fetched))


def _releases(answered: Sequence[Sample]) -> tuple[ReleaseSpan, ...]:
    seen: dict[str, list[float]] = {}
    for sample in answered:
        seen.setdefault(sample.release, []).append(sample.ended_at)
    spans = (ReleaseSpan(release, min(at), max(at), len(at)) for release, at in seen.items() if release)
    return tuple(sorted(spans, key=lambda span: span.first_seen))


def _ranked(items: Iterable[T]) -> dict[T, int]:
    """Counts, the most frequent first."""
    return dict(Counter(items).most_common())


def _loss(sample: Sample) -> dict[str, object]:
    return {
        "at": sample.scheduled_at,
        "after_ms": milliseconds(sample.latency_seconds),
        "kind": str(sample.kind),
        "failure": str(sample.failure),
        "status": sample.status,
        "detail": sample.detail,
        "release": sample.release,
        "id": sample.id,
        "asked": sample.asked,
    }


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.2g} %"
