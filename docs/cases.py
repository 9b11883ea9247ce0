"""Write the cases of `gapless conform` into docs/conform.md."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from gapless.conform.battery import CASES, FAMILIES

PAGE = Path(__file__).parent / "conform.md"
BEGIN, END = "<!-- cases: begin -->\n", "<!-- cases: end -->\n"


def table() -> str:
    """The families and their cases, as lists."""
    lines = []
    for family, cases in groupby(CASES, key=lambda one: one.order[0]):
        name = [*FAMILIES][family - 1]
        lines += [f"**{family} {name}**", "", *(f"- {one.number} {one.title}" for one in cases), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(text.partition(BEGIN)[0] + BEGIN + table() + END + text.partition(END)[2])
