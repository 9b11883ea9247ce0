"""The example wppackages: the quick form of its bench."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from bench import throughput

from tests.examples.wppackages.conftest import EXAMPLE


def test_the_bench_finds_what_is_promised() -> None:
    """With a thousand packages: every row is there, each answer is right, memory and start are within limits."""
    if throughput.wrk() is None:
        pytest.skip("there is no wrk, and only root can install it")
    argv = [sys.executable, "-m", "wppackages.bench", "--packages", "1000", "--seconds", "1"]
    done = subprocess.run(argv, cwd=EXAMPLE, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", done.stdout, re.MULTILINE))
    assert len(rows) == 10  # and the rule below its head
    assert re.fullmatch(r"[\d,]+ \(Caddy's file_server: [\d,]+\)", rows["p2 answers a second"])
