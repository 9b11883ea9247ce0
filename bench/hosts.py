"""The bench on a real systemd host of its own, as root: writes bench/hosts.{json,md} and a table into the README.

The exit status is not 0 when `gapless deploy` lost something.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.host.host import Host, install_requirements

from bench import switchovers, timings
from bench.__main__ import HERE, cells, conditions, into_readme, table
from bench.on_host import PROJECT, HostRestart, OnHost
from gapless.demo.compare import Measured
from gapless.demo.ways import Way

DEPLOYS = 200
TIMED = 20  # deploys on a host at rest, to see what gapless itself takes
GAP = 1.0  # seconds between a deploy and the next


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hosts", description=__doc__)
    parser.add_argument(
        "--deploys",
        type=int,
        default=DEPLOYS,
        help="in a row, direct and again through Caddy; 0: the timings alone; fewer than all: writes nothing",
    )
    options = parser.parse_args()
    install_requirements()
    with tempfile.TemporaryDirectory(prefix="gapless-hosts-") as folder, Host() as host:
        rows, wrong = [], []
        for server, kind, front, way in ways(host, Path(folder)) if options.deploys else ():
            row, measured = run(host, server, kind, front, way, switchovers.count_for(kind, options.deploys))
            rows.append(row)
            print(cells(row), flush=True)
            if kind == "gapless deploy":
                wrong += switchovers.unkept(row, measured, row.switchovers)
        times = measure_times(host, Path(folder, "times"), min(TIMED, options.deploys or TIMED))
    text = report(rows, times)
    print(text)
    if options.deploys >= DEPLOYS:
        results = {"rows": [dataclasses.asdict(row) for row in rows], "timings": times}
        (HERE / "hosts.json").write_text(json.dumps(results, indent=2) + "\n")
        (HERE / "hosts.md").write_text(text)
        into_readme("hosts", text)
    if wrong:
        sys.exit("\n".join(wrong))


def ways(host: Host, folder: Path) -> Iterator[tuple[str, str, str, Way]]:
    """Server, way of deploying, what is in front, and the way itself."""
    boot, linger = switchovers.BOOT, switchovers.LINGER
    for front in ("direct", "Caddy"):
        yield "gapless serve", "gapless deploy", front, OnHost(host, folder / f"gapless-{front}", boot, linger=linger)
        yield "uvicorn", "systemctl restart, held socket", front, HostRestart(host, folder / f"stock-{front}", boot)


def run(host: Host, server: str, kind: str, front: str, way: Way, count: int) -> tuple[switchovers.Row, Measured]:
    """Measure one way on the host."""
    row, measured = host.inside(lambda: switchovers.run(server, kind, front, way, count, gap=GAP, command=host.argv))
    for loss in measured.verdict.losses[:5]:
        print(f"lost: {loss.kind} {loss.failure} {loss.detail}")
    return row, measured


def measure_times(host: Host, folder: Path, count: int) -> dict[str, float]:
    """Medians in seconds: `status`, less what it takes to enter the host, and `count` deploys over their app's boot."""
    way = OnHost(host, folder, timings.BOOT, linger=1)
    env = {"DEMO_BOOT": f"{timings.BOOT}", "GAPLESS_SHARED": "/tmp"}  # noqa: S108 -- the host's own
    way.start()
    try:
        entering = timings.median(10, lambda: host.run("true"))
        return {
            "status": timings.median(10, lambda: way.gapless("status")) - entering,
            "deploy": timings.over_boot(count, way.deploy, lambda *argv: host.popen(*argv, cwd=PROJECT, env=env)),
        }
    finally:
        way.stop()


def report(rows: list[switchovers.Row], times: dict[str, float]) -> str:
    """The figures as Markdown."""
    every = all(row.ended_cleanly == row.switchovers for row in rows if row.way == "gapless deploy")
    lines = [
        f"The same on a systemd host: {conditions()}, {GAP:g} s between deploys. `make bench-hosts` makes this table.",
        "",
        *table(rows),
        "",
        f"There, `gapless status` takes {times['status'] * 1000:.0f} ms, and `gapless deploy` "
        f"{times['deploy'] * 1000:.0f} ms over its app's boot (medians). The listening socket stayed the same one "
        f"through every deploy, and {'every' if every else 'not every'} replaced instance ended by itself.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
