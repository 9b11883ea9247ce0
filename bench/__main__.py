"""Run the bench, write bench/results.json and bench/results.md, and put the table into the README."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import tempfile
from pathlib import Path

from bench import switchovers, throughput, timings

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
HEADINGS = ["server", "way", "in front", "deploys", "lost", "POSTs not exactly once"]
HEADINGS += ["worst inside", "worst outside", "p99.9 outside"]
BEGIN, END = "<!-- bench: begin -->\n", "<!-- bench: end -->"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--switchovers", type=int, default=50, help="of each server and way")
    parser.add_argument("--only", default="", help="only ways whose name contains this; writes nothing")
    parser.add_argument("--rounds", type=int, default=12, help="of the throughput measurement; 0: leave it out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gapless-bench-") as folder:
        rows = []
        for server, kind, front, way in switchovers.ways(Path(folder)):
            if options.only in f"{server} {kind} {front}":
                row, measured = switchovers.run(
                    server, kind, front, way, switchovers.count_for(server, options.switchovers)
                )
                rows.append(row)
                print(_cells(row), measured.verdict.bound, flush=True)
        ratios = throughput.ratios(Path(folder), options.rounds) if options.rounds else {}
        times = timings.timings(Path(folder)) if not options.only else {}
    text = report(rows, ratios, times)
    print(text)
    if not options.only:
        results = {"rows": [dataclasses.asdict(row) for row in rows], "throughput": ratios, "timings": times}
        (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        (HERE / "results.md").write_text(text)
        before, _, rest = README.read_text().partition(BEGIN)
        README.write_text(before + BEGIN + text + END + rest.partition(END)[2])


def _cells(row: switchovers.Row) -> str:
    cells = (
        row.server,
        row.way,
        row.front,
        f"{row.switchovers}",
        f"{row.lost} of {row.requests:,}",
        f"{row.wrong_posts}",
        f"{row.worst_inside:,.1f} ms",
        f"{row.worst_outside:,.1f} ms",
        f"{row.p999_outside:,.1f} ms",
    )
    return f"| {' | '.join(cells)} |"


def report(rows: list[switchovers.Row], ratios: dict[str, list[float]], times: dict[str, float]) -> str:
    """The figures as Markdown."""
    lines = [
        f"{switchovers.RATE:g} requests/s of mixed traffic (new connections, keep-alive GET "
        "and POST, connect–pause–send, slow uploads, WebSockets), an app that boots in "
        f"{switchovers.BOOT:g} s; {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}. `make bench` makes this table.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|{' --- |' * len(HEADINGS)}",
        *map(_cells, rows),
    ]
    if ratios:
        spread = ", ".join(
            f"{kind} {statistics.median(found):.2f} ({min(found):.2f}–{max(found):.2f})"
            for kind, found in ratios.items()
        )
        lines += ["", f"Throughput of `gapless serve` over stock uvicorn, median of paired rounds: {spread}."]
    if times:
        shown = {name: f"{seconds * 1000:.0f} ms" for name, seconds in times.items()}
        lines += [
            "",
            f"`import gapless` {shown['import']} over a bare interpreter, `gapless --help` {shown['help']}, "
            f"`gapless status` {shown['status']}, `gapless deploy` {shown['deploy']} over its app's boot (medians).",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
