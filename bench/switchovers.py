"""Switchovers of several servers under the same mixed traffic, direct and through Caddy."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import pauses
from bench.caddy import in_front_of
from gapless.demo.compare import TRAFFIC, Measured, measure
from gapless.demo.ways import Gapless, HeldRestart, Overlap, Way
from gapless.prove.kinds import Kind
from gapless.prove.verdict import Windowed, windowed

BOOT = 1.0  # seconds the app takes to start
OTHERS = 20  # switchovers of the servers beside gapless
LINGER = 3.0  # seconds; Caddy's keepalive is shorter, as the guide says
RATE = 120.0  # requests a second
GAP = 2.0  # seconds between a deploy and the next

KINDS = {**TRAFFIC, Kind.LONG: 2}  # under way when the old release is told to stop

PYTHON = [sys.executable, "-m"]
SERVERS = {  # name: (argv of a descriptor and a release, what it logs when it says that it is ready)
    "uvicorn": (
        lambda fd, r: [*PYTHON, "uvicorn", "app:app", "--fd", str(fd), "--header", f"gapless-release:{r}"],
        "Uvicorn running",
    ),
    "gunicorn": (
        lambda fd, _: [*PYTHON, "gunicorn", "-k", "asgi", "app:app", "--bind", f"fd://{fd}"],
        "Listening at",
    ),
    "hypercorn": (
        lambda fd, _: [*PYTHON, "hypercorn", "app:app", "--bind", f"fd://{fd}"],
        "Running on",
    ),
}


@dataclass(frozen=True)
class Latencies:
    """In milliseconds, inside the switchovers and outside them."""

    worst_inside: float
    worst_outside: float
    p999_outside: float
    ratio: float  # of the worst inside to the p99.9 outside


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `less_pauses`: each latency less the time in which the hypervisor paused a processor, `paused` milliseconds in
    all. `quick`: without the pages that take the app a while. A server that says it is ready too early stalls
    outside: after its switchover.
    """

    server: str
    way: str
    front: str
    switchovers: int
    requests: int
    lost: int
    wrong_posts: int
    ended_cleanly: int
    all: Latencies
    less_pauses: Latencies
    quick: Latencies
    paused: float


class Control(Gapless):
    """No deploy at all: what the same traffic and the machine alone do to the figures."""

    def deploy(self) -> None:
        time.sleep(BOOT + 0.5)  # about as long as a deploy takes


def ways(folder: Path) -> Iterator[tuple[str, str, str, Way]]:
    """Server, way of deploying, what is in front, and the way itself."""
    for front in ("direct", "Caddy"):
        yield (
            "gapless serve",
            "gapless deploy",
            front,
            Gapless("gapless", folder / f"gapless-{front}", BOOT, linger=LINGER),
        )
        control = Control("control", folder / f"control-{front}", BOOT, linger=LINGER)
        yield "gapless serve", "no deploy (control)", front, control
        for server, (argv, ready) in SERVERS.items():
            where = folder / f"{server}-overlap-{front}"
            yield server, "overlap", front, Overlap(f"{server}, overlap", where, BOOT, argv, ready)
        argv, ready = SERVERS["uvicorn"]
        where = folder / f"restart-{front}"
        yield "uvicorn", "restart, held socket", front, HeldRestart("uvicorn, restart", where, BOOT, argv, ready)


def count_for(kind: str, count: int) -> int:
    """The others, and the control, show what they show in fewer."""
    return count if kind == "gapless deploy" else min(count, OTHERS)


def run(
    server: str,
    kind: str,
    front: str,
    way: Way,
    count: int,
    *,
    gap: float = GAP,
    command: Callable[..., Sequence[str]] = lambda *argv: argv,
) -> tuple[Row, Measured]:
    """Measure one way with `count` switchovers; `command` as in `in_front_of`."""
    with contextlib.ExitStack() as stack:
        url = way.url
        if front == "Caddy":
            url = stack.enter_context(in_front_of(way.port, way.folder, LINGER - 1, command))
        seen = stack.enter_context(pauses.recorded())
        measured = asyncio.run(measure(way, rate=RATE, deploys=count, gap=gap, url=url, kinds=KINDS))
    verdict, samples = measured.verdict, measured.result.samples
    less = dict(zip(samples, pauses.less(samples, seen.all), strict=True))
    quick = [sample for sample in samples if sample.kind is not Kind.LONG]
    row = Row(
        server, kind, front, count, verdict.requests, verdict.lost, len(measured.wrong), way.ended_cleanly(),
        all=_latencies(measured.split),
        less_pauses=_latencies(windowed(samples, measured.windows, less.__getitem__)),
        quick=_latencies(windowed(quick, measured.windows)),
        paused=pauses.total(seen.all) * 1000,
    )  # fmt: skip
    return row, measured


def unkept(row: Row, measured: Measured, ended: int) -> list[str]:
    """Say what `gapless deploy` did not keep of its promise; `ended` instances were to end as they were told to."""
    found = [f"lost: {loss.kind} {loss.failure} {loss.detail}" for loss in measured.verdict.losses[:5]]
    found += [
        f"a POST that was acknowledged and is not in the ledger exactly once: {one}" for one in measured.wrong[:5]
    ]
    if not row.requests:
        found.append("no request was sent")
    if row.ended_cleanly != ended:
        found.append(f"{row.ended_cleanly} of {ended} instances ended as they were told to")
    if (seen := len(measured.verdict.releases)) != row.switchovers + 1:
        found.append(f"{seen} of {row.switchovers + 1} releases answered")
    return [f"{row.way}, {row.front}: {one}" for one in found]


def _latencies(split: Windowed) -> Latencies:
    inside, outside, p999 = (seconds * 1000 for seconds in (split.inside.max, split.outside.max, split.outside.p999))
    return Latencies(inside, outside, p999, ratio=inside / max(p999, 1e-3))
