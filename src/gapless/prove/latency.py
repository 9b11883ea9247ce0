"""How long answers took: percentiles of many. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

from gapless.prove.kinds import Sample

_ENOUGH = (1, 100, 1000, 1)  # requests that a p50, a p99, a p99.9 and a slowest one are of
_HOUR_US = 3_600_000_000  # the histogram's range: 1 microsecond to 1 hour, to 3 significant digits


@dataclass(frozen=True)
class Latency:
    """Percentiles (seconds) of `count` requests that were answered; all 0 when there were none."""

    count: int
    p50: float
    p99: float
    p999: float
    max: float

    @property
    def told(self) -> tuple[float | None, ...]:
        """For people: p50, p99, p99.9 and the slowest; None for one that so few requests do not have.

        Of eight requests a p99.9 is but the slowest under another name.
        """
        of = zip((self.p50, self.p99, self.p999, self.max), _ENOUGH, strict=True)
        return tuple(value if self.count >= enough else None for value, enough in of)

    def to_json(self) -> dict[str, float | int]:
        """`count`, and `p50`, `p99`, `p99.9`, `max` in milliseconds."""
        return {
            "count": self.count,
            "p50": milliseconds(self.p50),
            "p99": milliseconds(self.p99),
            "p99.9": milliseconds(self.p999),
            "max": milliseconds(self.max),
        }


def latency_of(
    samples: Sequence[Sample], seconds: Callable[[Sample], float] = lambda sample: sample.latency_seconds
) -> Latency:
    """The latency of samples that were answered; `seconds` says what counts as that of one."""
    if not samples:
        return Latency(0, 0.0, 0.0, 0.0, 0.0)
    histogram = HdrHistogram(1, _HOUR_US, 3)
    worst = 0.0
    for sample in samples:
        value = seconds(sample)
        worst = max(worst, value)
        histogram.record_value(min(max(round(value * 1e6), 1), _HOUR_US))
    # A bucket's upper edge can lie above the slowest sample, which is known exactly.
    p50, p99, p999 = (min(histogram.get_value_at_percentile(at) / 1e6, worst) for at in (50, 99, 99.9))
    return Latency(len(samples), p50, p99, p999, worst)


def milliseconds(seconds: float) -> float:
    """For JSON: to the microsecond."""
    return round(seconds * 1000, 3)
