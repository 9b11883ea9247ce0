"""What is drawn around the report's samples: the size of the drawing, its axes, its phases. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gapless.prove.phases import Phase, Role

MOST_LABELS = 10  # above each other
_MOST_LEVELS = 7
_LABEL_ROW = 18.0
_GRAIN = 2.0
_SEEN = 3.0  # width of a band
CHARACTER = 6.8  # width of a label's, generously


@dataclass(frozen=True)
class Frame:
    """How large a drawing is, in units of about a pixel, and how much is drawn in it."""

    name: str
    width: float
    left: float
    right: float
    plot: float  # height
    dots: int
    slots: int  # columns of the release strip
    ticks: int

    def fit(self, text: str) -> str:
        """`text`, cut where it is longer than the drawing is wide."""
        longest = int((self.right - self.left) / CHARACTER) - 2
        return text if len(text) <= longest else f"{text[: longest - 1]}…"


WIDE = Frame("wide", width=1000, left=58, right=990, plot=250, dots=3000, slots=240, ticks=10)
NARROW = Frame("narrow", width=400, left=52, right=396, plot=230, dots=1500, slots=120, ticks=5)


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True)
class Band:
    """A phase; `label` is None where there is no room for it."""

    x: float
    width: float
    role: Role
    label: Label | None


def bands_of(phases: Sequence[Phase], at: Callable[[float], float], frame: Frame) -> tuple[tuple[Band, ...], float]:
    """The bands, each label in the first row where it overlaps no other; and where the labels end.

    Switchovers are labelled first: the others have what is left, if they are wide enough to be seen. A long probe sees
    thousands of deploys: what nobody could tell apart is drawn once.
    """
    rows: list[list[tuple[float, float]]] = []  # what is taken of each
    bands: list[Band] = []
    drawn = set[tuple[int, int, Role]]()
    for phase in sorted(phases, key=lambda phase: (phase.role is not Role.SWITCHOVER, phase.start)):
        x, width = at(phase.start), max(at(phase.end) - at(phase.start), 1.0)
        text = frame.fit(phase.name)
        length = len(text) * CHARACTER + 8
        left = round(min(x, frame.right - length), 1)
        row = next((number for number, taken in enumerate(rows) if _free(taken, left, left + length)), len(rows))
        label = None
        if row < MOST_LABELS and (phase.role is Role.SWITCHOVER or width >= _SEEN):
            rows[row:] = rows[row:] or [[]]
            rows[row].append((left, left + length))
            label = Label(left, row * _LABEL_ROW + 13, text)
        spot = round(x / _GRAIN), round((x + width) / _GRAIN), phase.role
        if label or spot not in drawn:
            bands.append(Band(x, round(width, 1), phase.role, label))
            drawn.add(spot)
    return tuple(bands), len(rows) * _LABEL_ROW + 2


def _free(taken: Iterable[tuple[float, float]], left: float, right: float) -> bool:
    return all(end <= left or right <= start for start, end in taken)


def levels_of(seconds: Sequence[float]) -> list[float]:
    """The marks around the latencies, two at least: 1, 2, 5 of each power of ten, or the powers where that is many."""
    low = max(min(seconds, default=0.001), 1e-4)
    high = max(*seconds, 2 * low) if seconds else 1.0
    for digits in ((1, 2, 5), (1,)):
        steps = [digit * 10.0**power for power in range(-4, 5) for digit in digits]
        marks = steps[max(bisect_right(steps, low) - 1, 0) : bisect_left(steps, high) + 1]
        if len(marks) <= _MOST_LEVELS:
            break
    return marks


def times_of(span: float, at: Callable[[float], float], y: float, frame: Frame) -> Iterable[Label]:
    """Marks on the axis of time; the first and the last stay inside the drawing."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
    step = next((step for step in steps if span / step <= frame.ticks), span / frame.ticks)
    for number in range(int(span / step) + 1):
        second = number * step
        text = f"{second / 60:.3g} min" if step >= 60 else f"{second:g} s"
        half = len(text) * CHARACTER / 2
        yield Label(at(second), y, text, "end" if at(second) + half > frame.width else "middle")
