"""What children leave behind ends with the block in which they were started."""

from __future__ import annotations

import subprocess
from pathlib import Path

from gapless.linux.orphans import nothing_left
from tests.support import wait_until

# The second is in a session of its own, as a worker of Ansible's.
TWO = "setsid sh -c 'echo $$ > pid.new; mv pid.new pid; exec sleep 60' & wait"


def test_a_block_inside_of_another_one(tmp_path: Path) -> None:
    """The outer one still ends what its children leave."""
    with nothing_left(), subprocess.Popen(["sh", "-c", TWO], cwd=tmp_path) as first:
        wait_until((tmp_path / "pid").exists, 10, "a process of a process")
        with nothing_left():
            pass
        first.kill()
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
