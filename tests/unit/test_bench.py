"""The arithmetic behind the bench's figures."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from bench import pauses, timings
from bench.throughput import Pair, Round, Spread, processor_seconds, spread

from gapless.prove.kinds import Kind, Sample
from tests.support import wait_until


def test_a_spread_is_the_median_between_the_quartiles() -> None:
    """One wild round moves neither the median nor the quartiles."""
    assert spread([1.0, 2.0, 3.0, 4.0, 100.0]) == Spread(2.0, 3.0, 4.0)
    assert str(spread([1.0, 1.0, 1.02])) == "1.00 (1.00–1.01)"


def test_a_pair_compares_gapless_with_the_other() -> None:
    """A rate above 1 is better, processor time above 1 is worse."""
    pair = Pair(ours=Round(rate=900, processor=0.0002), theirs=Round(rate=1000, processor=0.0001))
    assert (pair.rates, pair.processor) == (0.9, 2.0)


def test_processor_time_is_that_of_the_whole_session() -> None:
    """A server's workers count, and what others use does not."""
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    with subprocess.Popen([sys.executable, "-c", child], start_new_session=True) as parent:
        try:
            wait_until(lambda: processor_seconds(parent.pid) >= 1, 60)  # the parent itself only waits
            assert time.clock_gettime(~parent.pid << 3 | 2) < 1
        finally:
            os.killpg(parent.pid, 9)


def test_pauses_of_several_processors_are_counted_once() -> None:
    """Pauses that overlap or touch are one; the order in which they were seen does not matter."""
    seen = [(5.0, 6.0), (1.0, 2.0), (1.5, 3.0), (3.0, 4.0), (1.2, 1.3)]
    assert pauses.union(seen) == [(1.0, 4.0), (5.0, 6.0)]
    assert pauses.total(seen) == 4.0


@pytest.mark.parametrize(
    ("paused", "left"),
    [
        ([], 4.0),
        ([(0.0, 9.5), (20.0, 30.0)], 4.0),  # before it and after it
        ([(9.0, 11.0)], 3.0),  # only what is inside counts
        ([(13.5, 99.0)], 3.5),
        ([(11.0, 12.0), (11.5, 12.5), (13.0, 13.25)], 2.25),  # two processors at once count once
        ([(0.0, 99.0)], 0.0),
    ],
)
def test_a_latency_is_counted_less_the_pauses_in_it(paused: list[pauses.Pause], left: float) -> None:
    """A request that was due at 10 and answered at 14, and each way that a pause can lie to it."""
    assert pauses.less([Sample(Kind.GET, 10.0, 4.0)], paused) == [left]


def may_be_first() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


def test_a_processor_that_stands_still_is_seen() -> None:
    """A sleeper that is stopped oversleeps, as if its processor were paused; without the priority none can tell."""
    with pauses.recorded() as seen:
        sleeper = multiprocessing.active_children()[0]
        assert sleeper.pid
        os.kill(sleeper.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
        stopped = time.time()
        while time.time() < stopped + 0.05:
            pass
        resumed = time.time()
        os.kill(sleeper.pid, signal.SIGCONT)
    length = resumed - stopped
    (left,) = pauses.less([Sample(Kind.GET, stopped, length)], seen.all)
    assert left < length / 2 if may_be_first() else left == length
    assert multiprocessing.active_children() == []


def test_recording_ends_with_what_it_surrounds() -> None:
    """No sleeper is left behind when the measurement fails."""
    with contextlib.suppress(ZeroDivisionError), pauses.recorded():
        assert multiprocessing.active_children()
        raise ZeroDivisionError
    assert multiprocessing.active_children() == []


def test_a_slow_start_of_gapless_fails_the_bench() -> None:
    """`import gapless` takes at most 20 ms over a bare interpreter, `gapless --help` 150 ms."""
    assert timings.too_slow({"import": 0.010, "help": 0.149, "deploy": 9.0}) == []
    [said] = timings.too_slow({"import": 0.021, "help": 0.149})
    assert said.startswith("import: 0.021 s")
