"""A verdict in words, for the report: a headline, a few figures, and sentences. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gapless.prove.kinds import Failure
from gapless.prove.phases import Phase, Split
from gapless.prove.verdict import Verdict
from gapless.span import show

MOST_WAYS = 6  # to lose a request, in a sentence


@dataclass(frozen=True)
class Tile:
    """A figure that is seen first, what it is, and whether it is good or bad news ('' is neither)."""

    figure: str
    meaning: str
    news: str = ""


def headline(verdict: Verdict) -> str:
    """The verdict in a few words, without a full stop."""
    if verdict.requests == 0:
        return "Nothing was sent"
    delayed = f"{verdict.delayed:,} delayed" if verdict.delayed else ""
    if verdict.lost:
        return ", ".join(filter(None, (f"{verdict.lost:,} of {verdict.requests:,} requests lost", delayed)))
    if delayed:
        return f"No request lost, {delayed}"
    return "No request lost" + (", none delayed" if verdict.max_latency_seconds is not None else "")


def tiles(verdict: Verdict, compared: Split | None) -> list[Tile]:
    """The figures of the verdict; with a switchover those of the comparison."""
    if verdict.requests == 0:
        return []
    found = [Tile(f"{verdict.lost:,}", f"lost of {_requests(verdict.requests)}", "bad" if verdict.lost else "good")]
    if verdict.delayed:
        found.append(Tile(f"{verdict.delayed:,}", f"slower than {ms(verdict.max_latency_seconds or 0)} ms", "bad"))
    if compared is None:
        answered = verdict.latency
        figures = ((answered.p50, "median answer"), (answered.max, "slowest answer")) if answered.count else ()
        return found + [Tile(f"{ms(seconds)} ms", meaning) for seconds, meaning in figures]
    several = compared.switchovers > 1
    inside = "a switchover" if several else "the switchover"
    for share, where in ((compared.switchover, inside), (compared.baseline, "the baseline")):
        figure = f"{ms(share.latency.max)} ms" if share.latency.count else "–"
        found.append(Tile(figure, f"slowest in {where}"))
    took = f"for {compared.switchovers:,} switchovers" if several else "for the switchover"
    return [*found, Tile(show(compared.seconds), took)]


def sentences(verdict: Verdict, compared: Split | None, phases: Sequence[Phase]) -> list[str]:
    """What the verdict and the comparison say, without full stops."""
    said = []
    if verdict.losses:
        said.append(_losses(verdict, phases))
    if verdict.delayed:
        said.append(f"{verdict.delayed:,} of the answers took longer than {ms(verdict.max_latency_seconds or 0)} ms")
    if compared:
        said.append(_comparison(compared))
    if not verdict.lost:
        said.append(sentence(verdict.bound))
    if verdict.assets:
        missing = f"{verdict.assets.missing:,} were missing" if verdict.assets.missing else "none was missing"
        said.append(f"Of {verdict.assets.fetched:,} files that pages referred to, {missing}")
    return said


def sentence(text: str) -> str:
    """`text` with the capital that a sentence begins with."""
    return text[:1].upper() + text[1:]


def ms(seconds: float) -> str:
    """Milliseconds, with as many digits as say something."""
    milliseconds = seconds * 1000
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.1f}"


def utc(moment: float, pattern: str = "%Y-%m-%d %H:%M:%S UTC") -> str:
    """A moment for people."""
    return datetime.fromtimestamp(moment, UTC).strftime(pattern)


def clock(moment: float) -> str:
    """The time of day, to the millisecond."""
    return utc(moment, "%H:%M:%S.%f")[:-3]


def _requests(count: int) -> str:
    return f"{count:,} request{'' if count == 1 else 's'}"


def _losses(verdict: Verdict, phases: Sequence[Phase]) -> str:
    """How the lost ones were lost, and the first of them."""
    ways = [f"{count:,} {failure}" for failure, count in verdict.lost_by_failure.items() if failure != Failure.STATUS]
    bad = {
        status: count for status, count in verdict.lost_by_status.items() if not 200 <= status < 300
    }  # else cut short
    ways += [f"{count:,} with status {status}" for status, count in bad.items()]
    first = verdict.losses[0]
    found = [phase.name for phase in phases if phase.start <= first.ended_at <= phase.end]
    where = f" in the phase “{found[-1]}”" if found else ""
    return f"Lost: {', '.join(ways[:MOST_WAYS])}; the first at {clock(first.ended_at)} UTC{where}"


def _comparison(compared: Split) -> str:
    """The slowest answer in the switchover, against the baseline."""
    inside, baseline = compared.switchover, compared.baseline
    where = "the switchover" if compared.switchovers == 1 else f"the {compared.switchovers:,} switchovers"
    if not inside.requests:
        return f"No request was under way in {where} ({show(compared.seconds)}), so nothing is proven about it"
    if not inside.latency.count:
        return f"None of {_requests(inside.requests)} in {where} was answered"
    slowest = f"In {where} ({show(compared.seconds)}, {_requests(inside.requests)}) the slowest answer took"
    if not baseline.latency.count:
        return f"{slowest} {ms(inside.latency.max)} ms; there was no request before to measure that against"
    usual = f"in the baseline before ({_requests(baseline.requests)}) {ms(baseline.latency.max)} ms"
    return f"{slowest} {ms(inside.latency.max)} ms; {usual}"
