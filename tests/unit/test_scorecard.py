"""What the scorecard tells has changed since the table that was kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from bench.scorecard.book import BEGIN, END
from bench.scorecard.page import changes, page

DOCS = Path(__file__).parents[2] / "docs"
CHAPTERS = ("servers", "managers")


def row(**other: Any) -> dict[str, Any]:
    cases = {"1.1": ["pass", "READY=1 after 0.1 s"], "2.2": ["fail", "it is 100"]}
    about = {"name": "a", "version": "1.0", "date": "2026-01-02", "command": "a app", "about": "", "error": ""}
    return {**about, "seconds": 30, "cases": cases, **other}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({}, []),
        ({"date": "2027-01-01"}, []),
        ({"version": "1.1"}, ["a: 1.0 → 1.1"]),
        ({"command": "a --b app"}, ["a: a app → a --b app"]),
        ({"cases": {"1.1": ["pass", "after 9 s"], "2.2": ["pass", "kept"]}}, ["a 2.2: fail → pass (kept)"]),
        ({"cases": {"1.1": ["pass", ""]}}, ["a 2.2: fail → not there"]),
        ({"error": "it ended"}, ["a: tested → it ended"]),
        ({"name": "b"}, ["b: new", "a: no row any more"]),
    ],
)
def test_what_changed(other: dict[str, Any], told: list[str]) -> None:
    """A version, a command, a verdict, a row more or less: a line each; another day alone is none."""
    assert changes([row()], [row(**other)]) == told


def test_each_row_names_version_and_date() -> None:
    """On the page each row has both, whatever it is of; a person's conclusions stay."""
    verdict = {name: ["pass", "0"] for name in ("lost", "stall", "lost by one that fails", "answers then")}
    ours = row(name="Python 3.11, uvloop, ASGI", python="3.11.7", loop="uvloop", app="ASGI")
    found = {"servers": [row()], "managers": [row(name="m", deploys=5, cases=verdict)], "pythons": [ours]}
    said = page(found, {"1.1": "says", "2.2": "keeps"}, "Choose well.")
    lines = [line for line in said.splitlines() if "| 1.0 | 2026-01-02 |" in line]
    assert [line.split(" | ")[0].strip("| ") for line in lines] == ["1", "m", "3.11.7"]
    assert "Choose well." in said


def test_conclusions_are_what_the_rows_say() -> None:
    """Every claim about a server, "(✗ 3.3 3.4: puma)", is what was kept of its row; and there are some of each."""
    kept = json.loads((DOCS / "scorecard.json").read_text())
    rows = {(one["name"], chapter != "managers"): one["cases"] for chapter in CHAPTERS for one in kept[chapter]}
    said = " ".join((DOCS / "scorecard.md").read_text().partition(BEGIN)[2].partition(END)[0].split())
    claims = re.findall(r"\(([✓✗]) ([^:()]+): ([^()]+)\)", said)
    wrong = []
    for mark, cases, names in claims:
        for name in names.split("; "):
            of_a_server = re.match(r"[\d ]|all", cases) is not None
            found = rows[name, of_a_server]
            numbers = [*found] if cases == "all" else cases.split() if of_a_server else [cases]
            wrong += [(mark, name, one, *found[one]) for one in numbers if (found[one][0] == "fail") != (mark == "✗")]
    assert not wrong
    assert {mark for mark, _, _ in claims} == {"✓", "✗"}
