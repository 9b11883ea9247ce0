"""1,000 deploys in a row on a real systemd host under a million requests, as root: what is lost, and what grows.

Then a storm: deploys as fast as they go, beside reloads of other servers. Writes two tables into the README. The exit
status is not 0 when gapless did not keep a promise; each is named.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.host.host import Host, install_requirements

from bench import footprint, storm
from bench.__main__ import into_readme
from bench.bulk import Bulk, bulk
from bench.footprint import Figure
from bench.on_host import PROJECT, OnHost
from bench.switchovers import KINDS
from gapless.demo.compare import Measured, mixed, weigh
from gapless.prove.background import load
from gapless.prove.kinds import Result
from gapless.prove.verdict import bound
from gapless.release.store import made

DEPLOYS = 1000
SAMPLES = 20  # looks at the host, evenly spread
LEAST = 4  # deploys between two looks, so that the second sees as many releases as are kept
PART = 20  # of the deploys, the first and the last that are compared: one in so many
SLOWER = 1.10  # the most by which the last ones may be slower
BOOT = 0.05  # seconds the app takes to start
LINGER = 2.0
EVERY = 1.25  # seconds from the beginning of one deploy to that of the next, unless that takes longer
RATE = 60.0  # requests a second of the probe
# Of wrk: connections, and milliseconds between an answer and the next request.
BULK = {"keep-alive": (24, 30), "new connections": (8, 30)}
REQUESTS = 1000  # for each deploy
BUILD = 'build = { run = "seq 20000 > built; seq 1000" }\n'  # a file, and a log


class Versions(OnHost):
    """The demo app with a build, and another file in each release."""

    def start(self) -> None:
        toml = self.folder / "gapless.toml"
        toml.write_text(toml.read_text() + BUILD)
        super().start()

    def deploy(self) -> None:
        """Raises GaplessError when it fails, or when the listening socket is another one after it."""
        (Path(f"/proc/{self.host.pid}/root{PROJECT}") / "version").write_text(f"{time.time_ns()}\n")
        super().deploy()


@dataclass(frozen=True)
class Soaked:
    """What came of the deploys: how long each took (seconds), what is there from one to the next, and what was lost."""

    deploys: Sequence[float]
    untrue: Sequence[str]  # releases that were named after a time to come
    rows: Sequence[footprint.Row]
    bulk: dict[str, Bulk]
    measured: Measured
    ended_cleanly: int
    took: float

    @property
    def requests(self) -> int:
        return self.measured.verdict.requests + sum(one.requests for one in self.bulk.values())

    @property
    def lost(self) -> int:
        return self.measured.verdict.lost + sum(one.failed for one in self.bulk.values())

    @property
    def medians(self) -> tuple[float, float]:
        """Seconds of a deploy, among the first ones and among the last."""
        part = max(len(self.deploys) // PART, 1)
        return statistics.median(self.deploys[:part]), statistics.median(self.deploys[-part:])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--deploys", type=int, default=DEPLOYS, help="in a row; fewer than all: writes nothing")
    parser.add_argument("--reloads", type=int, default=storm.RELOADS, help="of the storm, of each server; 0: no storm")
    options = parser.parse_args()
    install_requirements()
    with tempfile.TemporaryDirectory(prefix="gapless-soak-") as folder:
        with Host() as host:
            soaked = soak(host, Path(folder), options.deploys)
        print(text := report(soaked), flush=True)
        rows = storm.run(Path(folder), options.reloads) if options.reloads else []
    if rows:
        print(storm.report(rows))
    if options.deploys >= DEPLOYS:
        into_readme("soak", text)
    if options.reloads >= storm.RELOADS:
        into_readme("storm", storm.report(rows))
    if wrong := unkept(soaked) + storm.unkept(rows):
        sys.exit("\n".join(wrong))


def soak(host: Host, folder: Path, count: int) -> Soaked:
    """Deploy so many times under load."""
    way = Versions(host, folder / "app", BOOT, linger=LINGER)
    deploys: list[float] = []
    untrue: list[str] = []
    samples: list[dict[Figure, float]] = []

    def deploy() -> None:
        began = time.monotonic()
        way.deploy()
        deploys.append(time.monotonic() - began)
        current = str(json.loads(way.gapless("status", "--json").stdout)["current"])
        if (at := made(current)) is None or at > time.time():
            untrue.append(current)
        if len(deploys) % max(count // SAMPLES, LEAST) == 0:
            way.settle()
            samples.append(footprint.look(host))
        print(f"\r{len(deploys)} deploys, {time.monotonic() - start:.0f} s", end="", flush=True)
        time.sleep(max(began + EVERY - time.monotonic(), 0))

    async def under_load() -> tuple[Result, dict[str, Bulk]]:
        with contextlib.ExitStack() as stack:
            found = {
                kind: stack.enter_context(bulk(folder, way.url, kind, connections=connections, pause=pause))
                for kind, (connections, pause) in BULK.items()
            }
            async with load(mixed(way.url, RATE, KINDS)) as running:
                for _ in range(count):
                    await asyncio.to_thread(deploy)
        return running.result, found

    way.start()
    start = time.monotonic()
    result, found = host.inside(lambda: asyncio.run(under_load()))
    took = time.monotonic() - start
    print()
    way.stop()
    measured = weigh("soak", result, [], way.ledger)
    return Soaked(deploys, untrue, footprint.compare(samples), found, measured, way.ended_cleanly(), took)


def unkept(soaked: Soaked) -> list[str]:
    """Say what was not kept of the promise."""
    count, verdict = len(soaked.deploys), soaked.measured.verdict
    first, last = soaked.medians
    found = [f"lost: {loss.kind} {loss.failure} {loss.detail}" for loss in verdict.losses[:5]]
    found += [f"wrk, {kind}: {one.failures} of {one.requests:,}" for kind, one in soaked.bulk.items() if one.failed]
    found += [
        f"a POST that was acknowledged and is not in the ledger exactly once: {one}" for one in soaked.measured.wrong
    ]
    found += [f"{one} was named after a second that had not come yet" for one in soaked.untrue]
    found += [
        f"{row.figure.what} grew from {row.figure.show(row.before)} to {row.figure.show(row.after)}"
        for row in soaked.rows
        if not row.flat
    ]
    if soaked.requests < count * REQUESTS:
        found.append(f"{soaked.requests:,} requests were sent, fewer than {REQUESTS:,} for each deploy")
    if not soaked.measured.acknowledged:
        found.append("no POST was acknowledged")
    if soaked.ended_cleanly != count:
        found.append(f"{soaked.ended_cleanly} of {count} instances ended as they were told to")
    if (seen := len(verdict.releases)) != count + 1:
        found.append(f"{seen} of {count + 1} releases answered")
    if count >= DEPLOYS and last > first * SLOWER:
        found.append(f"a deploy took {first:.3f} s at first and {last:.3f} s in the end")
    return [f"soak: {one}" for one in found]


def report(soaked: Soaked) -> str:
    """The figures as Markdown."""
    count, verdict = len(soaked.deploys), soaked.measured.verdict
    first, last = soaked.medians
    part = max(count // PART, 1)
    sent = " and ".join(f"{one.requests:,} on {kind}" for kind, one in soaked.bulk.items())
    lines = [
        f"{count:,} deploys in a row on a systemd host, each of another release with a build, under "
        f"{soaked.requests:,} requests in {soaked.took / 60:.0f} minutes: "
        f"{verdict.requests:,} of the mixed traffic, and from wrk {sent}. "
        "`make soak` makes this table.",
        "",
        f"{bound(soaked.requests, soaked.lost)}. {soaked.measured.acknowledged:,} POSTs were acknowledged, "
        f"{len(soaked.measured.wrong)} of them are not in the app's ledger exactly once. The listening socket stayed "
        f"the same one; {soaked.ended_cleanly:,} of {count:,} replaced instances ended as they were told to. A deploy "
        f"took {first * 1000:,.0f} ms among the first {part}, and {last * 1000:,.0f} ms among the last (medians).",
        "",
        "| what stays on the host, at rest | after the warm-up | in the end | limit |",
        "| --- | --- | --- | --- |",
        *(f"| {' | '.join(cells(row))} |" for row in soaked.rows),
    ]
    return "\n".join(lines) + "\n"


def cells(row: footprint.Row) -> Sequence[str]:
    """A line of the table."""
    show = row.figure.show
    return row.figure.what, show(row.before), show(row.after), show(row.figure.allowed(row.before))


if __name__ == "__main__":
    main()
