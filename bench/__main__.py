"""Run the bench, write bench/results.json and bench/results.md, and put the table into the README.

The exit status is not 0 when `gapless deploy` lost something, or when gapless starts too slowly.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import switchovers, throughput, timings
from gapless.prove.verdict import bound

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
HEADINGS = ["server", "way", "in front", "deploys", "lost", "POSTs not exactly once"]
HEADINGS += ["worst inside", "worst outside", "p99.9 outside", "ratio", "ratio of quick pages"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--switchovers", type=int, default=50, help="of each server and way")
    only = "only ways whose name contains this, or `throughput`, or `timings`; writes nothing"
    parser.add_argument("--only", default="", help=only)
    parser.add_argument("--rounds", type=int, default=40, help="pairs of the throughput measurement; 0: leave it out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gapless-bench-") as folder:
        rows, wrong = [], []
        for server, kind, front, way in switchovers.ways(Path(folder)):
            if options.only in f"{server} {kind} {front}":
                row, measured = switchovers.run(
                    server, kind, front, way, switchovers.count_for(kind, options.switchovers)
                )
                rows.append(row)
                print(cells(row), measured.verdict.bound, flush=True)
                if kind == "gapless deploy":
                    wrong += switchovers.unkept(row, measured, row.switchovers + 1)  # the last one by `way.stop`
        wanted = options.rounds if options.only in "throughput" else 0
        pairs = throughput.pairs(Path(folder), wanted) if wanted else {}
        times = timings.timings(Path(folder)) if options.only in "timings" else {}
    text = report(rows, pairs, times)
    print(text)
    if not options.only:
        results = {
            "rows": [dataclasses.asdict(row) for row in rows],
            "throughput": {kind: [pair.rates for pair in found] for kind, found in pairs.items()},
            "processor_time": {kind: [pair.processor for pair in found] for kind, found in pairs.items()},
            "timings": times,
        }
        (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        (HERE / "results.md").write_text(text)
        into_readme("bench", text)
    wrong += timings.too_slow(times) if times else []
    if wrong:
        sys.exit("\n".join(wrong))


def into_readme(name: str, text: str) -> None:
    """Put `text` into the README, between the markers that carry the name."""
    put_between(README, name, text)


def put_between(page: Path, name: str, text: str) -> None:
    """Put `text` into a page, between the markers that carry the name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, _, rest = page.read_text().partition(begin)
    page.write_text(before + begin + text + end + rest.partition(end)[2])


def cells(row: switchovers.Row) -> str:
    """A line of the table, as HEADINGS say."""
    cells = (
        row.server,
        row.way,
        row.front,
        f"{row.switchovers}",
        f"{row.lost} of {row.requests:,}",
        f"{row.wrong_posts}",
        f"{row.all.worst_inside:,.1f} ms",
        f"{row.all.worst_outside:,.1f} ms",
        f"{row.all.p999_outside:,.1f} ms",
        f"{row.all.ratio:,.2f}",
        f"{row.quick.ratio:,.2f}",
    )
    return f"| {' | '.join(cells)} |"


def conditions() -> str:
    """What all figures were measured under."""
    return (
        f"{switchovers.RATE:g} requests/s of mixed traffic (new connections, keep-alive GET "
        "and POST, connect–pause–send, slow uploads, pages that take the app 50 ms, WebSockets), an app that boots in "
        f"{switchovers.BOOT:g} s; {os.cpu_count()} cores, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    )


def table(rows: Sequence[switchovers.Row]) -> list[str]:
    """The rows as a table, what it proves, and what its last columns mean."""
    ours = [row for row in rows if row.way == "gapless deploy"]
    return [
        f"| {' | '.join(HEADINGS)} |",
        f"|{' --- |' * len(HEADINGS)}",
        *map(cells, rows),
        "",
        f"`gapless deploy`: {bound(sum(row.requests for row in ours), sum(row.lost for row in ours))}.",
        "",
        "Latencies are as the clients measured them, inside the switchovers and outside; a server that says too early "
        "that it is ready stalls outside, after its switchover. The ratio is that of the worst inside to the p99.9 "
        "outside, and the same without the pages of 50 ms. The hypervisor let a processor stand still for "
        f"{sum(row.paused for row in rows) / 1000:.1f} s in all.",
    ]


def report(rows: list[switchovers.Row], pairs: dict[str, list[throughput.Pair]], times: dict[str, float]) -> str:
    """The figures as Markdown."""
    lines = [f"{conditions()}. `make bench` makes this table.", "", *table(rows), ""]
    lines.append("The control has the same traffic and no deploy: what the machine alone does to a worst case.")
    for kind, found in pairs.items():
        rates = throughput.spread([pair.rates for pair in found])
        processor = throughput.spread([pair.processor for pair in found])
        lines += [
            "",
            f"`gapless serve` over stock uvicorn, {kind}: rate {rates}, processor time a request {processor} "
            f"({len(found)} pairs of rounds: median and quartiles).",
        ]
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
