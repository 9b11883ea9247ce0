"""The geometry of the report's timeline: samples and phases in, coordinates of an SVG out. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from gapless.prove.kinds import MOST_RELEASES, Kind, Result, Sample

WIDTH, LEFT, RIGHT = 1000, 58, 990
PLOT_HEIGHT = 250
DOTS = 3000
_SLOTS = 240  # columns of the release strip
_LABEL_ROW, _LOST_ROW, _RELEASE_ROW = 17, 22, 34
_CHARACTER = 6.4  # width of a label's character, generously


@dataclass(frozen=True)
class Phase:
    """A named part of a deploy (unix seconds), and the release it was about ('' if none)."""

    name: str
    start: float
    end: float
    release: str = ""


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True)
class Band:
    x: float
    width: float
    label: Label


@dataclass(frozen=True)
class Cell:
    x: float
    width: float
    share: float


@dataclass(frozen=True)
class Row:
    release: str
    y: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Timeline:
    """Everything the template draws, in SVG units; paths are `d` attributes of zero-length strokes (dots)."""

    height: float
    top: float
    bottom: float
    bands: tuple[Band, ...]
    dots: dict[Kind, str]
    lost: str
    lost_ticks: str
    lost_y: float
    times: tuple[Label, ...]
    levels: tuple[Label, ...]
    limit_y: float | None
    slowest: Label | None
    rows: tuple[Row, ...]


def thin(samples: Sequence[Sample], start: float, end: float, limit: int = DOTS) -> list[Sample]:
    """About `limit` samples that look like all: every loss, the slowest overall and of each moment, an even rest."""
    if len(samples) <= limit:
        return list(samples)
    answered = [sample for sample in samples if not sample.failure]
    kept = {id(sample): sample for sample in samples if sample.failure}
    by_latency = sorted(answered, key=lambda sample: sample.latency_seconds)
    kept.update((id(sample), sample) for sample in by_latency[-limit // 10 :])
    slots = limit // 4
    moments: dict[int, Sample] = {}  # later ones are slower, and replace
    for sample in by_latency:
        moments[int((sample.scheduled_at - start) / ((end - start) or 1.0) * slots)] = sample
    kept.update((id(sample), sample) for sample in moments.values())
    stride = max(1, math.ceil(len(answered) / max(limit - len(kept), 1)))
    kept.update((id(sample), sample) for sample in answered[::stride])
    return list(kept.values())


def draw(result: Result, phases: Sequence[Phase], limit_seconds: float | None = None) -> Timeline:
    """Lay the samples out over time and (logarithmic) latency."""
    start, end = _span(result, phases)
    samples = result.samples

    def at(moment: float) -> float:
        return round(LEFT + (moment - start) / (end - start) * (RIGHT - LEFT), 1)

    bands, label_rows = _bands(phases, at)
    top = label_rows * _LABEL_ROW + 8
    answered = [sample for sample in samples if not sample.failure]
    shown = [sample.latency_seconds for sample in samples] + ([limit_seconds] if limit_seconds else [])
    low, high = _decades(shown)

    def level(seconds: float) -> float:
        share = (math.log10(max(seconds, 1e-6)) - low) / (high - low)
        return round(top + (1 - min(max(share, 0.0), 1.0)) * PLOT_HEIGHT, 1)

    def path(chosen: Sequence[Sample]) -> str:
        return "".join(f"M{at(one.scheduled_at)} {level(one.latency_seconds)}h0" for one in chosen)

    kept = thin(samples, start, end)
    losses = [sample for sample in kept if sample.failure]
    bottom = top + PLOT_HEIGHT
    lost_y = bottom + 24
    rows = _rows(answered, start, end, lost_y + (_LOST_ROW if losses else 0))
    slowest = max(answered, key=lambda sample: sample.latency_seconds, default=None)
    return Timeline(
        height=(rows[-1].y if rows else lost_y) + 18,
        top=top,
        bottom=bottom,
        bands=bands,
        dots={kind: path([sample for sample in kept if sample.kind is kind and not sample.failure]) for kind in Kind},
        lost=path(losses),
        lost_ticks="".join(f"M{at(sample.ended_at)} {lost_y}v10" for sample in losses),
        lost_y=lost_y,
        times=tuple(Label(at(start + second), bottom + 15, text, "middle") for second, text in _ticks(end - start)),
        levels=tuple(Label(LEFT - 6, level(10.0**power), _ms(power), "end") for power in range(low, high + 1)),
        limit_y=level(limit_seconds) if limit_seconds else None,
        slowest=_slowest(slowest, at, level) if slowest else None,
        rows=rows,
    )


def _span(result: Result, phases: Sequence[Phase]) -> tuple[float, float]:
    start = min([result.started_at, *(phase.start for phase in phases)])
    end = max([result.ended_at, *(phase.end for phase in phases)])
    return start, max(end, start + 0.001)


def _bands(phases: Sequence[Phase], at: Callable[[float], float]) -> tuple[tuple[Band, ...], int]:
    """The bands, each label in the first row where it overlaps no other; and the number of rows."""
    row_ends: list[float] = []
    bands: list[Band] = []
    for phase in sorted(phases, key=lambda phase: phase.start):
        x, width = at(phase.start), max(at(phase.end) - at(phase.start), 1.0)
        length = len(phase.name) * _CHARACTER + 8
        label_x = min(x, RIGHT - length)
        row = next((row for row, taken in enumerate(row_ends) if taken <= label_x), len(row_ends))
        row_ends[row : row + 1] = [label_x + length]
        bands.append(Band(x, round(width, 1), Label(round(label_x, 1), row * _LABEL_ROW + 13, phase.name)))
    return tuple(bands), len(row_ends)


def _decades(seconds: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the latencies, at least one decade."""
    if not seconds:
        return -3, 0
    low = math.floor(math.log10(max(min(seconds), 1e-4)))
    return low, max(math.ceil(math.log10(max(*seconds, 1e-4, 10.0**low))), low + 1)


def _ticks(span: float) -> list[tuple[float, str]]:
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
    step = next((step for step in steps if span / step <= 10), span / 10)
    seconds = [number * step for number in range(int(span / step) + 1)]
    return [(second, f"{second / 60:g} min" if step >= 60 else f"{second:g} s") for second in seconds]


def _ms(power: int) -> str:
    return f"{10.0 ** (power + 3):g} ms" if power < 0 else f"{10**power:g} s"


def _slowest(sample: Sample, at: Callable[[float], float], level: Callable[[float], float]) -> Label:
    x, y = at(sample.scheduled_at), level(sample.latency_seconds)
    text = f"slowest {sample.latency_seconds * 1000:.1f} ms ({sample.kind})"
    if x > RIGHT - len(text) * _CHARACTER - 8:
        return Label(x - 7, max(y - 4, 12), text, "end")
    return Label(x + 7, max(y - 4, 12), text)


def _rows(answered: Sequence[Sample], start: float, end: float, y: float) -> tuple[Row, ...]:
    """A row for each release, in the order seen; a cell's share is how many of its moment's answers it gave."""
    slot_seconds = (end - start) / _SLOTS
    totals = [0] * _SLOTS
    counts: dict[str, list[int]] = {}
    for sample in sorted(answered, key=lambda sample: sample.ended_at):
        slot = min(int((sample.ended_at - start) / slot_seconds), _SLOTS - 1)
        if sample.release and slot >= 0:
            totals[slot] += 1
            counts.setdefault(sample.release, [0] * _SLOTS)[slot] += 1
    return tuple(
        Row(release, y + 24 + number * _RELEASE_ROW, _cells(slots, totals))
        for number, (release, slots) in enumerate(islice(counts.items(), MOST_RELEASES))
    )


def _cells(counts: Sequence[int], totals: Sequence[int]) -> tuple[Cell, ...]:
    """The slots with answers; neighbours with the same share are one cell, so that no hairlines show between."""
    shares = [round(count / total, 1) if total else 0.0 for count, total in zip(counts, totals, strict=True)]
    slot_width = (RIGHT - LEFT) / _SLOTS
    cells = []
    slot = 0
    for share, run in groupby(shares):
        length = len(list(run))
        if any(counts[slot : slot + length]):
            x, width = LEFT + slot * slot_width, length * slot_width
            cells.append(Cell(round(x, 1), round(width, 1), round(0.2 + 0.8 * share, 2)))
        slot += length
    return tuple(cells)
