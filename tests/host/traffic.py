"""Steady traffic to a port of a host, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from gapless.prove.kinds import Kind, Sample
from gapless.prove.probe import probe
from gapless.prove.workload import Workload
from tests.support import wait_until

T = TypeVar("T")
KINDS = {Kind.NEW: 1.0, Kind.GET: 1.0, Kind.PAUSE: 0.3}


class Network(Protocol):
    """A network with an address of its own: a host's, or another's."""

    @property
    def address(self) -> str: ...

    def inside(self, call: Callable[[], T]) -> T:
        """The result of `call`, whose sockets are in the network."""
        ...


class Traffic:
    """What was sent so far; complete once the block is left."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    @property
    def releases(self) -> set[str]:
        """Those that have answered."""
        return {sample.release for sample in self.samples if sample.release}

    @property
    def lost(self) -> list[str]:
        return [f"{one.kind} {one.failure}: {one.detail}" for one in self.samples if one.failure]

    def flows(self) -> None:
        """Wait until 30 more requests have been answered."""
        goal = len(self.samples) + 30
        wait_until(lambda: len(self.samples) >= goal, 30, "more requests")


@contextlib.contextmanager
def traffic(host: Network, port: int, kinds: Mapping[Kind, float] = KINDS) -> Iterator[Traffic]:
    """New connections, keep-alive GETs, and some that pause before they send, from inside the network of `host`."""
    seen = Traffic()
    ready = threading.Event()
    workload = Workload(f"http://{host.address}:{port}", rate=60, kinds=kinds, timeout_seconds=20, assets_seconds=5)
    stop: list[asyncio.Event] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def send() -> None:
        stop.append(asyncio.Event())
        loops.append(asyncio.get_running_loop())
        ready.set()
        await probe(workload, seen.samples.append, stop[0])

    with ThreadPoolExecutor(max_workers=1) as thread:
        running = thread.submit(host.inside, lambda: asyncio.run(send()))
        assert ready.wait(30)
        try:
            yield seen
        finally:
            loops[0].call_soon_threadsafe(stop[0].set)
            running.result()
