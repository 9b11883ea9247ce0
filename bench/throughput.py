"""`gapless serve` beside stock uvicorn: the same app, loop and parser, in many short rounds that alternate.

A virtual machine is paused and slowed as its host likes, so one comparison of rates says little. Hence two
figures for each pair of rounds: the ratio of the rates, and that of the processor time a request takes, which
does not grow while a server waits for its turn.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.host.host import REQUIREMENTS

from gapless.demo.ways import Restart

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""
PYTHON = [sys.executable, "-m"]
SECONDS = 1  # a round; wrk counts in whole ones
A_START = 4  # pairs before both servers start anew
KINDS = {"keep-alive": [], "new connections": ["-H", "Connection: close"]}


@dataclass(frozen=True)
class Round:
    """Requests a second, and the seconds of processor time that the server spent on each."""

    rate: float
    processor: float


@dataclass(frozen=True)
class Pair:
    """One round of each server, the one right after the other."""

    ours: Round
    theirs: Round

    @property
    def rates(self) -> float:
        """Above 1: gapless answers more."""
        return self.ours.rate / self.theirs.rate

    @property
    def processor(self) -> float:
        """Below 1: gapless spends less."""
        return self.ours.processor / self.theirs.processor


@dataclass(frozen=True)
class Spread:
    """The middle of some figures, and the quartiles around it."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def spread(figures: Sequence[float]) -> Spread:
    """Median and quartiles of two figures or more."""
    return Spread(*statistics.quantiles(figures, n=4, method="inclusive"))


def wrk() -> str | None:
    """The load generator's path; installed from Debian when we are root."""
    if shutil.which("wrk") is None and os.geteuid() == 0:
        subprocess.run([REQUIREMENTS, "load"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return shutil.which("wrk")


def pairs(folder: Path, count: int) -> dict[str, list[Pair]]:
    """For keep-alive and for new connections: `count` pairs of rounds, in the order ABBA.

    The servers run on one processor and the load on another. They start anew now and then, because each process has
    a memory layout of its own, and keeps what luck it had. Empty when there is no wrk and it cannot be installed.
    """
    load = wrk()
    if load is None:
        return {}
    gapless = Restart(
        "gapless",
        folder / "gapless",
        0,
        lambda port, _: [*PYTHON, "gapless", "serve", "hello:app", "--bind", f"127.0.0.1:{port}", "--linger", "1s"],
    )
    uvicorn = Restart("uvicorn", folder / "uvicorn", 0, lambda port, _: [
        *PYTHON, "uvicorn", "hello:app", "--no-access-log", "--port", str(port)])  # fmt: skip
    processors = sorted(os.sched_getaffinity(0))
    found: dict[str, list[Pair]] = {kind: [] for kind in KINDS}
    try:
        for way in (gapless, uvicorn):
            (way.folder / "hello.py").write_text(APP)
        for done in range(0, count, A_START):
            with _pinned(processors[-1]):  # what is started here stays there
                gapless.deploy()
                uvicorn.deploy()
            with _pinned(processors[0]):
                for kind, flags in KINDS.items():
                    found[kind] += _alternate(load, gapless, uvicorn, flags, min(A_START, count - done))
        return found
    finally:
        gapless.stop()
        uvicorn.stop()


@contextlib.contextmanager
def _pinned(processor: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _alternate(load: str, ours: Restart, theirs: Restart, flags: list[str], count: int) -> list[Pair]:
    found = []
    for number in range(count + 1):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        rounds = {way.name: _round(load, way, flags) for way in order}
        found.append(Pair(rounds[ours.name], rounds[theirs.name]))
    return found[1:]  # the first warms up


def _round(load: str, way: Restart, flags: list[str]) -> Round:
    argv = [load, "-t1", "-c16", f"-d{SECONDS}", *flags, way.url]
    before = processor_seconds(way.pid)
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    spent = processor_seconds(way.pid) - before
    answered, rate = re.search(r"(\d+) requests in", output), re.search(r"Requests/sec:\s+([\d.]+)", output)
    if not answered or not rate or "Socket errors" in output or "Non-2xx" in output:
        raise RuntimeError(f"wrk did not get a good answer to each request from {way.name}: {output}")
    return Round(float(rate[1]), spent / int(answered[1]))


def processor_seconds(session: int) -> float:
    """What the living processes of a session have used so far, in user and in kernel mode."""
    pids = [int(one.name) for one in Path("/proc").glob("[1-9]*")]
    # The CPU clock of another process, as clock_getcpuclockid(3) makes it: utime + stime, but in nanoseconds.
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids if _session(pid) == session)


def _session(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        return os.getsid(pid)
    return None
