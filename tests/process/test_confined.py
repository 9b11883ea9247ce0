"""A program that root runs as somebody else, such as Litestream for an app: what that can do, and what it never can."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest

from gapless.linux import confined

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs commands as somebody else")

OTHER = "nobody"
NOTHING = {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0, "NoNewPrivs": 1}


def test_it_can_never_gain_a_right() -> None:
    """No capability in any set, and no_new_privs: sudo, su and ping's file capabilities do nothing for it."""
    user = pwd.getpwnam(OTHER)
    out, _ = confined.start(["cat", "/proc/self/status"], user, stdout=subprocess.PIPE).communicate(timeout=20)
    fields = dict(line.split(":\t", 1) for line in out.decode().splitlines())
    assert {name: int(fields[name], 16) for name in NOTHING} == NOTHING
    assert fields["Uid"].split() == [str(user.pw_uid)] * 4
    assert fields["Gid"].split() == [str(user.pw_gid)] * 4
    assert fields["Groups"].split() == [str(one) for one in sorted(os.getgrouplist(OTHER, user.pw_gid))]


def test_a_step_that_the_kernel_refuses_is_named() -> None:
    """Invariant 8: root who may not empty the bounding set starts nothing, and hears why."""
    script = f"import pwd; from gapless.linux import confined; confined.start(['true'], pwd.getpwnam('{OTHER}'))"
    argv = ["setpriv", "--bounding-set=-setpcap", sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "cannot become the user nobody: cannot empty its bounding set: Operation" in done.stderr
