"""What is stopped when a deployer is killed in a start, with a scripted systemctl that writes down what it is told.

Only the order and the conditions are looked at here; the real one is at work in the host tests.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import wait_until

DEPLOYER = """
import os, signal, sys
from pathlib import Path
from gapless.switch.systemd.deadman import stopped_with_us
from gapless.switch.systemd.systemctl import Systemctl
folder = Path(sys.argv[1])
named = (folder / "candidate", "Service=shop@r1.service")
with stopped_with_us(Systemctl(), "shop.socket", "shop@r1.service", remove=[folder / "unit"], named=named):
    if sys.argv[2]:
        (folder / "candidate").write_text(sys.argv[2])
    else:
        (folder / "candidate").unlink()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("[Socket]\nService=shop@r1.service\n", ["shop.socket", "shop@r1.service"]),
        ("[Socket]\nService=shop@r2.service\n", ["shop@r1.service"]),  # the next deployer is at work
        ("", ["shop@r1.service"]),  # and has committed
    ],
)
def test_the_next_deployers_socket_is_left_alone(tmp_path: Path, says: str, told: list[str]) -> None:
    """Invariant 5: a killed deployer's candidate ends; what is another's by then does not."""
    log = tmp_path / "told"
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    (tmp_path / "systemctl").chmod(0o755)
    for name in ("candidate", "unit"):
        (tmp_path / name).touch()
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", DEPLOYER, str(tmp_path), says], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: log.exists() and "daemon-reload" in log.read_text())
    stopped = [line.split()[-1] for line in log.read_text().splitlines() if " stop " in line]
    assert stopped == told
    assert (tmp_path / "candidate").exists() is ("r2" in says)
    assert not (tmp_path / "unit").exists()
