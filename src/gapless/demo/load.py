"""The probe in a process of its own: what the deploying process does must not show up in its latencies."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable
from multiprocessing.connection import Connection

from gapless import priority
from gapless.errors import GaplessError
from gapless.prove.kinds import Result, Sample
from gapless.prove.plan import Plan
from gapless.prove.probe import probe

INTERVAL = 0.5  # seconds between two reports of progress
Progress = Callable[[int, int], None]  # requests, lost


class Load:
    """A load that runs; `result` is there once the context has been left."""

    result: Result


@contextlib.asynccontextmanager
async def load(plan: Plan, on_progress: Progress) -> AsyncIterator[Load]:
    """Send what `plan` says while the context is open. Raises GaplessError if the load itself dies."""
    context = multiprocessing.get_context("spawn")  # a fork would copy our event loop
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(plan, theirs))
    process.start()
    theirs.close()
    running = Load()
    hearing = asyncio.create_task(asyncio.to_thread(_hear, ours, on_progress))
    try:
        yield running
    finally:
        with contextlib.suppress(BrokenPipeError):  # it died: that is said below
            ours.send("stop")
        result = await hearing
        process.join()
        ours.close()
        if result is None:
            raise GaplessError("load", plan.url, f"the load ended with status {process.exitcode}")
        running.result = result


def _hear(pipe: Connection, on_progress: Progress) -> Result | None:
    while True:
        try:
            said = pipe.recv()
        except EOFError:
            return None
        if isinstance(said, Result):
            return said
        on_progress(*said)


def _run(plan: Plan, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes to the parent, who stops us
    os.setsid()
    priority.autogroup(os.getpid(), -10)  # a clock that waits for the processor measures itself (root only)
    pipe.send(asyncio.run(_probe(plan, pipe)))


async def _probe(plan: Plan, pipe: Connection) -> Result:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)  # "stop", or the parent's end
    counts = [0, 0]

    def count(sample: Sample) -> None:
        counts[0] += 1
        counts[1] += sample.failure is not None

    async def report() -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            pipe.send(tuple(counts))

    reporting = asyncio.create_task(report())
    try:
        return await probe(plan, count, stop)
    finally:
        reporting.cancel()
        asyncio.get_running_loop().remove_reader(pipe.fileno())
