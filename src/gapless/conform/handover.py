"""Cases about several releases: one that dies, one that still drains, many in a row."""

from __future__ import annotations

import asyncio
import time

from gapless.conform.case import Failed, case
from gapless.conform.expect import Traffic, ends, fine, good
from gapless.conform.manager import Manager
from gapless.conform.started import Started
from gapless.conform.visitor import head
from gapless.prove.kinds import Kind, Result
from gapless.prove.probe import probe
from gapless.prove.verdict import bound, windowed
from gapless.prove.workload import Workload

IN_A_ROW = 5
RATE = 100.0  # requests a second


@case("5.1", "a candidate that dies while it loads costs the release that serves no request")
def survives_a_dead_candidate(manager: Manager) -> str:
    manager.start()
    with Traffic(lambda: fine(manager.get()), 4) as traffic:
        dead = manager.launch(CONFORM_BROKEN="1", CONFORM_BOOT="1")
        dead.ended(10)
    return traffic.none_lost()


@case("5.2", "a handover while the release before still drains loses nothing")
def hands_over_while_draining(manager: Manager) -> str:
    first = manager.start()
    visitor = manager.visitor().send(head("/slow?4"))
    time.sleep(0.2)
    second = manager.replace(first)
    other = manager.visitor().send(head("/slow?2"))
    time.sleep(0.2)
    with Traffic(lambda: fine(manager.get()), 2) as traffic:
        manager.replace(second)
        good(other.response())
        good(visitor.response())
        ends(first)
        ends(second)
    return f"both requests under way answered; of new ones {traffic.none_lost()}"


@case("5.3", f"{IN_A_ROW} handovers in a row under mixed load lose nothing", alone=True)
def many_in_a_row(manager: Manager) -> str:
    address = manager.address
    assert isinstance(address, tuple)  # noqa: S101 -- the first socket is TCP
    kinds = {Kind.NEW: 2.0, Kind.GET: 2.0, Kind.POST: 2.0, Kind.PAUSE: 2.0, Kind.SLOW: 1.0}
    workload = Workload(f"http://127.0.0.1:{address[1]}/", RATE, kinds=kinds, post_path="/echo", pause_seconds=0.3)
    result, windows, old = asyncio.run(_switches(manager, workload))
    seen = windowed(result.samples, windows)
    lost = seen.lost_inside + seen.lost_outside
    worst = [f"{(one.max or 0) * 1000:.0f} ms" for one in (seen.inside, seen.outside)]
    latencies = f"worst latency {worst[0]} in handovers, {worst[1]} outside"
    evidence = f"{bound(len(result.samples), lost)}; {latencies}"
    if lost:
        first = next(one for one in result.samples if one.failure)
        raise Failed(f"{lost} of {len(result.samples)} lost, the first a {first.kind}: {first.failure}; {latencies}")
    for one in old:
        ends(one)
    return evidence


async def _switches(manager: Manager, workload: Workload) -> tuple[Result, list[tuple[float, float]], list[Started]]:
    windows, old, stop = [], [], asyncio.Event()
    current = await asyncio.to_thread(manager.start)
    load = asyncio.create_task(probe(workload, stop=stop))
    await asyncio.sleep(1)
    for _ in range(IN_A_ROW):
        began = time.time()
        new = await asyncio.to_thread(manager.replace, current)
        await asyncio.to_thread(current.ended, 2.0)
        windows.append((began, time.time()))
        old.append(current)
        current = new
        await asyncio.sleep(1)
    stop.set()
    return await load, windows, old
