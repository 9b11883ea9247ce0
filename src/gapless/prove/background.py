"""The probe in a process of its own: what the deploying process does must not show up in its latencies."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from multiprocessing.connection import Connection

from gapless.errors import GaplessError
from gapless.linux import priority
from gapless.prove.kinds import Result, Sample
from gapless.prove.probe import probe
from gapless.prove.workload import Workload

INTERVAL = 0.5  # seconds between two reports of progress
Progress = Callable[[int, int], None]  # requests, lost


class BackgroundProbe:
    """A load that runs from its making until `stop`; `alarm` is the first bad sample (see `is_bad`)."""

    result: Result

    def __init__(self, workload: Workload, on_progress: Progress, max_latency_seconds: float | None = None) -> None:
        """Send the `workload`; `on_progress` is called in a thread, every half second."""
        self.alarm: Sample | None = None
        self._trouble = ""  # why there is no result
        self._url = workload.url
        self._on_progress = on_progress
        context = multiprocessing.get_context("spawn")  # a fork would copy our event loop
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(workload, max_latency_seconds, theirs))
        self._process.start()
        theirs.close()
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()

    @property
    def runs(self) -> bool:
        """Whether the load is still on."""
        return self._hearing.is_alive()

    def stop(self) -> Result:
        """End it, and wait for the requests under way. Raises GaplessError if the load itself died."""
        with contextlib.suppress(BrokenPipeError):  # it died: that is said below
            self._pipe.send("stop")
        self._hearing.join()
        self._process.join()
        self._pipe.close()
        if not hasattr(self, "result"):
            cause = self._trouble or f"the load ended with status {self._process.exitcode}"
            raise GaplessError("load", self._url, cause)
        return self.result

    def _hear(self) -> None:
        while True:
            try:
                said = self._pipe.recv()
            except EOFError:
                return
            match said:
                case Result():
                    self.result = said
                    return
                case Sample():
                    self.alarm = said
                case str():
                    self._trouble = said
                case _:
                    self._on_progress(*said)


def is_bad(sample: Sample, max_latency_seconds: float | None) -> bool:
    """Lost, or slower than the bound; the probe's own lateness is not the server's."""
    took = sample.latency_seconds - sample.late_seconds
    return sample.failure is not None or (max_latency_seconds is not None and took > max_latency_seconds)


@contextlib.asynccontextmanager
async def load(
    workload: Workload, on_progress: Progress = lambda _requests, _lost: None
) -> AsyncIterator[BackgroundProbe]:
    """Send the `workload` while the context is open. Raises GaplessError if the load itself dies."""
    running = BackgroundProbe(workload, on_progress)
    try:
        yield running
    finally:
        await asyncio.to_thread(running.stop)


def _run(workload: Workload, max_latency_seconds: float | None, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes to the parent, who stops us
    os.setsid()
    priority.autogroup(os.getpid(), -10)  # a clock that waits for the processor measures itself (root only)
    try:
        pipe.send(asyncio.run(_probe(workload, max_latency_seconds, pipe)))
    except GaplessError as error:
        pipe.send(str(error))


async def _probe(workload: Workload, max_latency_seconds: float | None, pipe: Connection) -> Result:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)  # "stop", or the parent's end
    counts = [0, 0]
    alarmed = False

    def count(sample: Sample) -> None:
        nonlocal alarmed
        counts[0] += 1
        counts[1] += sample.failure is not None
        if not alarmed and is_bad(sample, max_latency_seconds):
            alarmed = True
            pipe.send(sample)

    async def report() -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            pipe.send(tuple(counts))

    reporting = asyncio.create_task(report())
    try:
        return await probe(workload, count, stop)
    finally:
        reporting.cancel()
        asyncio.get_running_loop().remove_reader(pipe.fileno())
