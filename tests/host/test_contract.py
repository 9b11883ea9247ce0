"""The contract of every manager, kept by systemd: the same suite, run inside a real host."""

from __future__ import annotations

import sys

import pytest

from tests.host.host import PROJECT, Host


@pytest.mark.timeout(400)
@pytest.mark.parametrize("suite", ["test_manager.py", "test_pause.py", "test_processes.py", "test_switchover.py"])
def test_systemd_keeps_the_contract(host: Host, suite: str) -> None:
    """Invariants 1 to 6: what holds of the embedded supervisor holds of systemd, with real units and processes."""
    argv = ["-m", "pytest", "-p", "no:cacheprovider", "--manager=systemd", f"tests/contract/{suite}"]
    done = host.run(sys.executable, *argv, cwd=PROJECT, check=False, timeout=360, env={"CI": "true"})
    assert done.returncode == 0, done.stdout + done.stderr
