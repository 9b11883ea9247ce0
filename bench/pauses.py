"""When the hypervisor ran nobody: what a virtual machine's host took is not the server's doing.

On each processor a sleeper of the highest priority wakes every millisecond. The kernel lets it run before
anybody else, so when it oversleeps, nobody ran there: the host had paused the processor, or, more rarely, the
kernel was busy with itself. Without the right to that priority (root) nothing is recorded, because then the
sleeper may just have waited for its turn.
"""

from __future__ import annotations

import bisect
import contextlib
import multiprocessing
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from gapless.prove.kinds import Sample

SLEEP = 1  # milliseconds
LEAST = 0.003  # seconds overslept that count as a pause
PRIORITY = 50  # of SCHED_FIFO: above all that is not a kernel thread

Pause = tuple[float, float]  # start and end, Unix seconds


@dataclass
class Seen:
    """The pauses of all processors in the order they began; there once the context has been left."""

    all: list[Pause] = field(default_factory=list)


@contextlib.contextmanager
def recorded() -> Iterator[Seen]:
    """Record the pauses of each processor while the context is open."""
    context = multiprocessing.get_context("spawn")
    sleepers = []
    seen = Seen()
    try:
        for processor in sorted(os.sched_getaffinity(0)):
            ours, theirs = context.Pipe()
            process = context.Process(target=_sleep, args=(processor, theirs), daemon=True)
            process.start()
            theirs.close()
            sleepers.append((process, ours))
        for _, pipe in sleepers:
            pipe.recv()  # it has begun
        yield seen
        for _, pipe in sleepers:
            pipe.send("stop")
        seen.all = sorted(pause for _, pipe in sleepers for pause in pipe.recv())
    finally:
        for process, pipe in sleepers:
            pipe.close()  # the end that a sleeper hears if it was not told to stop
            process.join()


def _sleep(processor: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes to the parent, who stops us
    os.sched_setaffinity(0, {processor})
    least = LEAST
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        least = float("inf")
    found: list[Pause] = []
    epoch = time.time() - time.monotonic()
    told = select.poll()
    told.register(pipe.fileno(), select.POLLIN)
    with contextlib.suppress(EOFError, BrokenPipeError):
        pipe.send("begun")
        stopped = False
        while not stopped:
            due = time.monotonic() + SLEEP / 1000
            stopped = bool(told.poll(SLEEP))
            woke = time.monotonic()
            if woke - due > least:
                found.append((epoch + due, epoch + woke))
        pipe.recv()
        pipe.send(found)


def union(pauses: Iterable[Pause]) -> list[Pause]:
    """The same stretches of time in order, without overlap."""
    merged: list[Pause] = []
    for start, end in sorted(pauses):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def total(pauses: Iterable[Pause]) -> float:
    """Seconds in which at least one processor was paused."""
    return sum(end - start for start, end in union(pauses))


def less(samples: Sequence[Sample], pauses: Iterable[Pause]) -> list[float]:
    """The latency of each sample (seconds), less the part of it during which a processor was paused."""
    merged = union(pauses)
    ends = [end for _, end in merged]

    def paused(sample: Sample) -> float:
        seconds = 0.0
        for start, end in merged[bisect.bisect_right(ends, sample.scheduled_at) :]:
            if start >= sample.ended_at:
                break
            seconds += min(end, sample.ended_at) - max(start, sample.scheduled_at)
        return seconds

    return [max(sample.latency_seconds - paused(sample), 0.0) for sample in samples]
