"""The arithmetic behind the bench's figures."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from bench.throughput import Pair, Round, Spread, processor_seconds, spread


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
            deadline = time.monotonic() + 60
            while processor_seconds(parent.pid) < 1:  # the parent itself only waits
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert time.clock_gettime(~parent.pid << 3 | 2) < 1
        finally:
            os.killpg(parent.pid, 9)
