"""Put one way of deploying under load, deploy again and again, and see what the clients and the ledger say."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gapless.demo.ways import Way
from gapless.prove.background import Progress, load
from gapless.prove.kinds import Kind, Result
from gapless.prove.verdict import Verdict, Windowed, judge, windowed
from gapless.prove.workload import Workload

# The mixed traffic: each kind has caught a way of deploying that loses it and not the others.
TRAFFIC: Mapping[Kind, float] = {Kind.NEW: 4, Kind.GET: 4, Kind.POST: 6, Kind.PAUSE: 2, Kind.SLOW: 2, Kind.WS: 2}
AFTER = 0.5  # seconds after a deploy command that still count as its switchover


@dataclass(frozen=True)
class Measured:
    """What one way did to the traffic; `windows` are the switchovers (Unix seconds)."""

    name: str
    result: Result
    verdict: Verdict
    windows: Sequence[tuple[float, float]]
    split: Windowed
    acknowledged: int
    wrong: Sequence[str]  # acknowledged ids that are not in the ledger exactly once

    @property
    def ok(self) -> bool:
        return self.verdict.ok and not self.wrong


async def measure(
    way: Way,
    *,
    rate: float,
    deploys: int,
    gap: float,
    url: str = "",
    kinds: Mapping[Kind, float] = TRAFFIC,
    on_deploy: Callable[[int], None] = lambda _number: None,
    on_progress: Progress = lambda _requests, _lost: None,
) -> Measured:
    """Start `way`, then deploy every `gap` seconds under `rate` requests a second; ends what it started."""
    windows: list[tuple[float, float]] = []
    try:
        await asyncio.to_thread(way.start)
        async with load(mixed(url or way.url, rate, kinds), on_progress) as running:
            for number in range(1, deploys + 1):
                await asyncio.sleep(gap)
                on_deploy(number)
                began = time.time()
                await asyncio.to_thread(way.deploy)
                windows.append((began, time.time() + AFTER))
            await asyncio.sleep(gap)
    finally:
        await asyncio.to_thread(way.stop)
    return weigh(way.name, running.result, windows, way.ledger)


def mixed(url: str, rate: float, kinds: Mapping[Kind, float] = TRAFFIC) -> Workload:
    """The mixed traffic, `rate` requests a second of it."""
    return Workload(url, rate=rate, kinds=kinds, timeout_seconds=20, pause_seconds=0.3, upload_seconds=0.6)


def weigh(name: str, result: Result, windows: Sequence[tuple[float, float]], ledger: Path) -> Measured:
    """Hold what the clients were told against what the ledger has."""
    acknowledged = result.acknowledged
    with sqlite3.connect(ledger) as database:
        noted = Counter(row[0] for row in database.execute("SELECT id FROM ledger"))
    database.close()
    wrong = [one for one in acknowledged if noted[one] != 1]
    return Measured(name, result, judge(result), windows, windowed(result.samples, windows), len(acknowledged), wrong)
