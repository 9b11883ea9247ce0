"""The example wppackages: the quick form of its bench."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from bench import throughput

from tests.examples.wppackages.conftest import EXAMPLE


def test_bench() -> None:
    """With a thousand packages: every row is there and each answer is right; a busy machine may start late."""
    if throughput.wrk() is None:
        pytest.skip("there is no wrk, and only root can install it")
    argv = [sys.executable, "-m", "wppackages.bench", "--packages", "1000", "--seconds", "1"]
    done = subprocess.run(argv, cwd=EXAMPLE, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", done.stdout, re.MULTILINE))
    assert len(rows) == 10  # and the rule below its head
    assert int(rows["memory of the server, at its most"].split()[0]) < 100
    assert re.fullmatch(r"[\d,]+ \(Caddy's file_server: [\d,]+\)", rows["p2 answers a second"])
