"""Run the battery of `gapless conform` on the field, each server as installed today, and keep the table in docs/.

Prints what is no longer as in the kept table.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.scorecard.page import changes, counts, page
from bench.scorecard.servers import ELSEWHERE, ROOT, SERVERS, Server, install
from gapless.conform.battery import CASES

KNOWN = [one.name for one in SERVERS]
WITHIN = 600.0  # seconds for a server; it takes less than two minutes
CONCLUSIONS = ("<!-- conclusions: begin -->", "<!-- conclusions: end -->")


def judge(argv: Sequence[str], cases: Sequence[str], conform: Sequence[str] = ()) -> dict[str, Any]:
    """The document of `gapless conform` on a command; "error" in it where it cannot be tested at all."""
    ours = [*(conform or (sys.executable, "-m", "gapless", "conform")), "--json"]
    done = subprocess.run(
        [*ours, *(f"--only={one}" for one in cases), "--", *argv],
        capture_output=True, text=True, check=False, timeout=WITHIN, cwd=ROOT,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def kept(found: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a document."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "error": found.get("error", {}).get("cause", ""),
        "seconds": round(found.get("seconds", 0)),
        "cases": {one["number"]: [one["outcome"], one["evidence"]] for one in found.get("cases", ())},
    }


def row(server: Server, cases: Sequence[str]) -> dict[str, Any]:
    """What is kept of a server."""
    found = judge(server.argv, cases)
    about = {"name": server.name, "version": server.version, "command": server.command, "about": server.about}
    one = {**about, **kept(found)}
    if server.cannot and one["error"]:
        said = [re.sub(r"unix:/\S*/", "unix:/…/", line) for line in found["error"]["details"] if "Listening at" in line]
        one["error"] = "; ".join([server.cannot, *said])
    print(f"{server.name} {one['version']}: {counts(one)}", flush=True)
    return one


def read(into: Path) -> dict[str, list[dict[str, Any]]]:
    """All that was kept: rows of servers, of managers, of Pythons."""
    file = into / "scorecard.json"
    found: dict[str, list[dict[str, Any]]] = json.loads(file.read_text()) if file.exists() else {}
    return {"servers": [], "managers": [], "pythons": [], **found}


def write(into: Path, found: dict[str, list[dict[str, Any]]]) -> None:
    """Keep it, and make the page of it; the conclusions on the page stay."""
    (into / "scorecard.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    file = into / "scorecard.md"
    begin, end = CONCLUSIONS
    said = file.read_text() if file.exists() else ""
    inside = said.partition(begin)[2].partition(end)[0] if begin in said else "\n"
    file.write_text(page(found, {one.number: one.title for one in CASES}, f"{begin}{inside}{end}\n"))


def main() -> int:
    """Judge the field, write the page, tell what changed."""
    parser = argparse.ArgumentParser(prog="bench.scorecard", description=__doc__)
    parser.add_argument("--server", action="append", help="those whose name begins so; the others' rows stay")
    parser.add_argument("--case", action="append", default=[], help="as --only of gapless conform")
    parser.add_argument("--into", type=Path, default=ROOT / "docs", help="the directory of the page")
    chosen = parser.parse_args()
    servers = [one for one in SERVERS if not chosen.server or one.name.startswith(tuple(chosen.server))]
    if any(one.package not in ELSEWHERE for one in servers):
        install()
    found = read(chosen.into)
    before = found["servers"]
    rows = {one["name"]: one for one in before}
    for server in servers:
        new = row(server, chosen.case)
        if chosen.case:  # the others are as they were
            new["cases"] = {**rows.get(server.name, new)["cases"], **new["cases"]}
        rows[server.name] = new
        # Each at once: it takes a quarter of an hour.
        write(chosen.into, {**found, "servers": [rows[name] for name in KNOWN if name in rows]})
    for line in changes(before, [one for one in rows.values() if one["name"] in KNOWN]):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
