"""What the scorecard tells has changed since the table that was kept."""

from __future__ import annotations

from typing import Any

import pytest
from bench.scorecard.page import changes, page


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
