"""A picture of plans: how long each takes, against how many hosts it lets run a bad release; one SVG, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 300, 250  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 50, 26, 42, 44
LEGEND = 22  # of a line
COLOURS = ("#d1495b", "#edae49", "#00798c", "#30638e", "#7a5195", "#6a994e", "#6c757d")
STYLE = """text { font: 12px system-ui, sans-serif; fill: #222 } .axis { stroke: #999 } .grid { stroke: #ddd }
.title { font-weight: 600 } .small { font-size: 11px }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .axis { stroke: #888 } .grid { stroke: #444 } }"""


@dataclass(frozen=True)
class Dot:
    """A plan: minutes of a good deploy, hosts that run a bad release (mean), and how many in 19 of 20 cases at most."""

    plan: str
    minutes: float
    mean: float
    most: float


@dataclass(frozen=True)
class Panel:
    """The plans for one number of hosts."""

    title: str
    dots: Sequence[Dot]


class Scale:
    """A logarithmic axis from a power of ten to another; `length` is in pixels."""

    def __init__(self, values: Sequence[float], length: float) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self.length = length

    def at(self, value: float) -> float:
        """Pixels from the lower end."""
        return (math.log10(value) - self.low) / (self.high - self.low) * self.length

    @property
    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def draw(panels: Sequence[Panel]) -> str:
    """The picture as SVG that needs nothing else."""
    plans = [dot.plan for dot in panels[0].dots]
    width, height = WIDTH * len(panels), HEIGHT + LEGEND * math.ceil(len(plans) / 2) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>Time of a deploy, and hosts that ran a bad release, by plan and number of hosts</title>",
        f"<style>{STYLE}</style>",
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate({number * WIDTH} 0)">', *_panel(panel), "</g>"]
    for number, plan in enumerate(plans):
        x, y = LEFT + number % 2 * width / 2, HEIGHT + 16 + number // 2 * LEGEND
        parts.append(f'<circle cx="{x:.0f}" cy="{y - 4}" r="5" fill="{COLOURS[number]}"/>')
        parts.append(f'<text x="{x + 12:.0f}" y="{y}">waves = {escape(plan)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel) -> list[str]:
    across = Scale([dot.minutes for dot in panel.dots], WIDTH - LEFT - RIGHT)
    up = Scale([1, *(dot.most for dot in panel.dots)], HEIGHT - TOP - BOTTOM)
    base = HEIGHT - BOTTOM
    parts = [f'<text class="title" x="{LEFT}" y="16">{escape(panel.title)}</text>']
    for tick in up.ticks:
        y = base - up.at(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="small" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:,.0f}</text>')
    for tick in across.ticks:
        x = LEFT + across.at(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{base}"/>')
        parts.append(f'<text class="small" x="{x:.1f}" y="{base + 16}" text-anchor="middle">{tick:,g}</text>')
    parts.append(f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{base}H{WIDTH - RIGHT}"/>')
    parts.append(
        f'<text class="small" x="{WIDTH - RIGHT}" y="{HEIGHT - 12}" text-anchor="end">minutes of a deploy</text>'
    )
    parts.append(f'<text class="small" x="4" y="{TOP - 12}">hosts that ran it</text>')
    for dot, colour in zip(panel.dots, COLOURS, strict=False):
        x, mean, most = LEFT + across.at(dot.minutes), base - up.at(dot.mean), base - up.at(dot.most)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{mean:.1f}" y2="{most:.1f}" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(
            f'<circle cx="{x:.1f}" cy="{mean:.1f}" r="5" fill="{colour}"><title>{escape(dot.plan)}</title></circle>'
        )
    return parts
