"""What is kept of all rows, docs/scorecard.json, and the page that is made of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.scorecard.page import changes, page
from bench.scorecard.servers import ROOT
from gapless.conform.battery import CASES

WITHIN = 600.0  # seconds for a server; it takes less than two minutes
BEGIN, END = "<!-- conclusions: begin -->", "<!-- conclusions: end -->"  # between them stands what a person wrote
Row = dict[str, Any]


def judge(argv: Sequence[str], cases: Sequence[str], gapless: Sequence[str] = ()) -> Row:
    """The document of `gapless conform` on a command; "error" in it where it cannot be tested at all."""
    ours = [*(gapless or (sys.executable, "-m", "gapless")), "conform", "--json"]
    done = subprocess.run(
        [*ours, *(f"--only={one}" for one in cases), "--", *argv],
        capture_output=True, text=True, check=False, timeout=WITHIN, cwd=ROOT,
    )  # fmt: skip
    found: Row = json.loads(done.stdout)
    return found


def kept(found: Row) -> Row:
    """What is kept of a document."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "error": found.get("error", {}).get("cause", ""),
        "seconds": round(found.get("seconds", 0)),
        "cases": {one["number"]: [one["outcome"], one["evidence"]] for one in found.get("cases", ())},
    }


class Book:
    """The rows of one chapter ("servers", "managers", "pythons") of the page in the directory `into`."""

    def __init__(self, into: Path, chapter: str) -> None:
        self._file = into / "scorecard.json"
        self._chapter = chapter
        before = self._read()[chapter]
        self._before = before
        self._rows: dict[str, Row] = {one["name"]: one for one in before}

    def put(self, row: Row, order: Iterable[str], *, only_some: bool = False) -> None:
        """Keep a row, at once; those not in `order` go. With `only_some` its other cases stay as they were."""
        name = row["name"]
        if only_some:
            was = self._rows.get(name, row)
            row |= {"cases": {**was["cases"], **row["cases"]}, "seconds": was["seconds"]}
        self._rows[name] = row
        self._rows = {one: self._rows[one] for one in order if one in self._rows}
        found = {**self._read(), self._chapter: [*self._rows.values()]}
        self._file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        file = self._file.with_suffix(".md")
        said = file.read_text().partition(BEGIN)[2].partition(END)[0] if file.exists() else ""
        conclusions = BEGIN + (said or "\n") + END + "\n"
        file.write_text(page(found, {one.number: one.title for one in CASES}, conclusions))

    def changes(self) -> list[str]:
        """What is no longer as it was kept before, a line each."""
        return changes(self._before, [*self._rows.values()])

    def _read(self) -> dict[str, list[Row]]:
        found = json.loads(self._file.read_text()) if self._file.exists() else {}
        return {"servers": [], "managers": [], "pythons": [], **found}
