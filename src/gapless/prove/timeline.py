"""The geometry of the report's timeline: samples and phases in, coordinates of an SVG out. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from gapless.prove.frame import CHARACTER, WIDE, Band, Frame, Label, bands_of, levels_of, times_of
from gapless.prove.kinds import Kind, Result, Sample
from gapless.prove.phases import Phase

MOST_ROWS = 10  # of releases: the tables have more
_LOST_ROW, _RELEASE_ROW = 22, 34
_HEADROOM = 18  # for what is written above the slowest dot
_FEW, _LARGE_DOT, _SMALL_DOT = 1000, 4.5, 3.0
_GRAIN = 2.0  # losses nearer to each other than this are one dot


@dataclass(frozen=True)
class Cell:
    x: float
    width: float
    share: float


@dataclass(frozen=True)
class Row:
    text: str
    y: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Timeline:
    """Everything the template draws, in SVG units; paths are `d` attributes of zero-length strokes (dots)."""

    frame: Frame
    dot: float
    height: float
    heading: float  # where the names of phases end
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
    ring: tuple[float, float] | None  # around its dot
    rows: tuple[Row, ...]
    more_releases: int


def thin(samples: Sequence[Sample], start: float, end: float, limit: int = WIDE.dots) -> list[Sample]:
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


def draw(result: Result, phases: Sequence[Phase], limit_seconds: float | None = None, frame: Frame = WIDE) -> Timeline:
    """Lay the samples out over time and (logarithmic) latency."""
    start, end = _span(result, phases)
    samples = result.samples

    def at(moment: float) -> float:
        return round(frame.left + (moment - start) / (end - start) * (frame.right - frame.left), 1)

    bands, heading = bands_of(phases, at, frame)
    top = heading + _HEADROOM
    answered = [sample for sample in samples if not sample.failure]
    shown = [sample.latency_seconds for sample in samples] + ([limit_seconds] if limit_seconds else [])
    levels = levels_of(shown)
    low, high = math.log10(levels[0]), math.log10(levels[-1])

    def level(seconds: float) -> float:
        share = (math.log10(max(seconds, 1e-6)) - low) / (high - low)
        return round(top + (1 - min(max(share, 0.0), 1.0)) * frame.plot, 1)

    def path(chosen: Iterable[Sample], grain: float = 0.1) -> str:
        spots = ((at(one.scheduled_at), level(one.latency_seconds)) for one in chosen)
        return "".join(f"M{x} {y}h0" for x, y in _distinct(spots, grain))

    kept = thin(samples, start, end, frame.dots)
    losses = [sample for sample in kept if sample.failure]
    bottom = top + frame.plot
    limit_y = level(limit_seconds) if limit_seconds else None
    lost_y = bottom + 24
    rows, more = _rows(answered, start, end, lost_y + (_LOST_ROW if losses else 0), frame)
    slowest = max(answered, key=lambda sample: sample.latency_seconds, default=None)
    ring = (at(slowest.scheduled_at), level(slowest.latency_seconds)) if slowest else None
    return Timeline(
        frame=frame,
        dot=_LARGE_DOT if len(samples) <= _FEW else _SMALL_DOT,
        height=(rows[-1].y if rows else lost_y) + 18 + (16 if more else 0),
        heading=heading,
        top=top,
        bottom=bottom,
        bands=bands,
        dots={kind: path(sample for sample in kept if sample.kind is kind and not sample.failure) for kind in Kind},
        lost=path(losses, _GRAIN),
        lost_ticks="".join(f"M{x} {lost_y}v10" for x, _ in _distinct(((at(one.ended_at), 0) for one in losses), 1.0)),
        lost_y=lost_y,
        times=tuple(times_of(end - start, lambda second: at(start + second), bottom + 15, frame)),
        levels=tuple(
            Label(frame.left - 6, level(mark), f"{mark * 1000:g} ms" if mark < 1 else f"{mark:g} s", "end")
            for mark in levels
        ),
        limit_y=limit_y,
        slowest=_slowest(slowest, *ring, limit_y, frame) if slowest and ring else None,
        ring=ring,
        rows=rows,
        more_releases=more,
    )


def _span(result: Result, phases: Sequence[Phase]) -> tuple[float, float]:
    start = min([result.started_at, *(phase.start for phase in phases)])
    end = max([result.ended_at, *(phase.end for phase in phases)])
    return start, max(end, start + 0.001)


def _distinct(spots: Iterable[tuple[float, float]], grain: float) -> Iterable[tuple[float, float]]:
    """One spot of those that nobody could tell apart: a million losses make no page of a hundred megabytes."""
    return {(round(x / grain), round(y / grain)): (x, y) for x, y in spots}.values()


def _slowest(sample: Sample, x: float, y: float, limit_y: float | None, frame: Frame) -> Label:
    """What is written beside the slowest dot: above it, or below where the bound is written there."""
    y += 16 if limit_y is not None and abs(y - limit_y) < 14 else -4
    text = f"slowest {sample.latency_seconds * 1000:,.1f} ms ({sample.kind})"
    if x > frame.right - len(text) * CHARACTER - 8:
        return Label(x - 9, y, text, "end")
    return Label(x + 9, y, text)


def _rows(answered: Sequence[Sample], start: float, end: float, y: float, frame: Frame) -> tuple[tuple[Row, ...], int]:
    """A row for each release, in the order seen, and how many have none.

    A cell's share is how many of its moment's answers the release gave.
    """
    slots = min(max(len(answered) // 8, 1), frame.slots)  # in each moment there is somebody who answered
    slot_seconds = (end - start) / slots
    totals = [0] * slots
    counts: dict[str, list[int]] = {}
    others = set[str]()
    for sample in sorted(answered, key=lambda sample: sample.ended_at):
        slot = min(int((sample.ended_at - start) / slot_seconds), slots - 1)
        if not sample.release or slot < 0:
            continue
        totals[slot] += 1
        if sample.release not in counts and len(counts) == MOST_ROWS:
            others.add(sample.release)
        else:
            counts.setdefault(sample.release, [0] * slots)[slot] += 1
    rows = (
        Row(frame.fit(f"answered by {release}"), y + 24 + number * _RELEASE_ROW, _cells(given, totals, frame))
        for number, (release, given) in enumerate(counts.items())
    )
    return tuple(rows), len(others)


def _cells(counts: Sequence[int], totals: Sequence[int], frame: Frame) -> tuple[Cell, ...]:
    """The slots with answers; neighbours with the same share are one cell, so that no hairlines show between."""
    shares = [round(count / total, 1) if total else 0.0 for count, total in zip(counts, totals, strict=True)]
    slot_width = (frame.right - frame.left) / len(totals)
    cells = []
    slot = 0
    for share, run in groupby(shares):
        length = len(list(run))
        if any(counts[slot : slot + length]):
            x, width = frame.left + slot * slot_width, length * slot_width
            cells.append(Cell(round(x, 1), round(width, 1), round(0.2 + 0.8 * share, 2)))
        slot += length
    return tuple(cells)
