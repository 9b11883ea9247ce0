"""One deploy at a time, with real processes and real kills."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release.clock import Clock
from gapless.release.hold import acquire_hold, hold, release_hold
from gapless.release.holding import me
from gapless.release.lock import deploy_lock, holder

# Takes the lock, starts a child that keeps others out too when told to, says so, and waits to be killed.
HOLD = """
import subprocess, sys
from pathlib import Path
from gapless.release.lock import deploy_lock
with deploy_lock(Path(sys.argv[1]), why="deploy") as lock, lock.migrating() as descriptor:
    lock.name(release="20261122T213005Z-abc1234")
    fds = (descriptor,) if sys.argv[2] == "inherit" else ()
    child = subprocess.Popen(["cat"], stdin=0, stdout=subprocess.DEVNULL, pass_fds=fds)
    print("held", flush=True)
    child.wait()
"""


@contextmanager
def holding(home: Path, inherit: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock, with a `cat` as its child; closing its stdin ends both."""
    argv = [sys.executable, "-c", HOLD, str(home), inherit]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


def test_refused_with_the_holder_named(tmp_path: Path) -> None:
    """Invariant 2: a second deploy is refused, naming who, since when, which release, why."""
    with holding(tmp_path, "-") as other:
        with pytest.raises(GaplessError) as refused, deploy_lock(tmp_path, why="deploy"):
            pass
        held_by = holder(tmp_path)
    assert held_by is not None
    assert held_by.pid == other.pid
    assert held_by.release == "20261122T213005Z-abc1234"
    assert refused.value.status == 75
    for word in (me(), f"pid {other.pid}", "since 20", "20261122T213005Z-abc1234", "deploy"):
        assert word in refused.value.cause


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    """Invariant 5: after SIGKILL the lock is free, although a child of the dead deployer lives on."""
    with holding(tmp_path, "-") as other:
        other.kill()
        other.wait()
        assert holder(tmp_path) is None
        with deploy_lock(tmp_path, why="deploy") as lock:
            assert lock.holder.pid == os.getpid()


def test_an_orphan_that_inherited_the_lock_keeps_it(tmp_path: Path) -> None:
    """Invariant 2: a dead deployer's migration still keeps others out, and the refusal says what is going on."""
    with holding(tmp_path, "inherit") as other:
        other.kill()
        other.wait()
        with pytest.raises(GaplessError, match="its deployer is gone, but a command") as refused:
            deploy_lock(tmp_path, why="deploy").__enter__()
        assert refused.value.status == 75
        assert "fuser" in refused.value.hint
        assert "20261122T213005Z-abc1234" in refused.value.cause
        assert other.stdin is not None
        other.stdin.close()  # the orphan ends
        with deploy_lock(tmp_path, why="deploy", wait=20):
            pass


def test_waiting_for_the_lock(tmp_path: Path) -> None:
    """Invariant 2: with time to wait, a deploy starts when the one before it has ended."""
    with holding(tmp_path, "-") as other:
        naps = []

        def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 50:
                assert other.stdin is not None
                other.stdin.close()
                other.wait()

        clock = Clock(monotonic=lambda: sum(naps), sleep=nap)
        with deploy_lock(tmp_path, why="deploy", wait=5, clock=clock):
            assert len(naps) == 50


def test_the_end_of_a_deploy_frees_the_lock_from_daemons(tmp_path: Path) -> None:
    """A daemon that a migration left behind does not lock out the next deploy."""
    with deploy_lock(tmp_path, why="deploy") as lock, lock.migrating() as descriptor:
        daemon = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(descriptor,))
    with deploy_lock(tmp_path, why="deploy") as lock, lock.migrating():
        pass
    daemon.communicate()


def test_other_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    """No child has the lock's own descriptor, nor a migration's if it does not get it on purpose."""
    with deploy_lock(tmp_path, why="deploy") as lock, lock.migrating():
        child = subprocess.run(
            ["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True, close_fds=False
        )
        assert str(tmp_path) not in child.stdout


def test_an_error_frees_the_lock(tmp_path: Path) -> None:
    """Whatever ends a deploy ends its lock, and leaves no stale name in it."""
    with pytest.raises(KeyboardInterrupt), deploy_lock(tmp_path, why="deploy"):
        raise KeyboardInterrupt
    assert holder(tmp_path) is None
    assert (tmp_path / "lock").read_bytes() == b""


def test_a_shorter_name_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    """The holder can be read at any time, also after its text became shorter."""
    with deploy_lock(tmp_path, why="deploy") as lock:
        lock.name(release="x" * 500)
        lock.name(release="r1", why="migrate")
        held_by = holder(tmp_path)
        assert held_by == lock.holder
        assert held_by is not None
        assert (held_by.release, held_by.why) == ("r1", "migrate")


def test_a_hold_outlives_its_process_and_can_be_repeated(tmp_path: Path) -> None:
    """Invariants 2 and 7: a manual hold refuses deploys, naming who and why, until it is released; twice is once."""
    home = tmp_path / "home"
    script = "import sys; from pathlib import Path; from gapless.release.hold import acquire_hold as a; "
    script += "print(a(Path(sys.argv[1]), 'the sale is on'), a(Path(sys.argv[1]), 'again'))"
    done = subprocess.run([sys.executable, "-c", script, home], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
    on_hold = hold(home)
    assert on_hold is not None
    assert on_hold.why == "the sale is on"
    with pytest.raises(GaplessError, match=r"on hold by .*: the sale is on") as refused:
        deploy_lock(home, why="deploy").__enter__()
    assert refused.value.status == 75
    assert "gapless lock release" in refused.value.hint
    assert holder(home) is None
    assert [release_hold(home), release_hold(home)] == [True, False]
    with deploy_lock(home, why="deploy"):
        assert hold(home) is None


def test_a_torn_hold_still_holds(tmp_path: Path) -> None:
    """A hold whose writer was killed half-way keeps deploys out: better safe than half-sure."""
    (tmp_path / "hold.json").write_bytes(b'{"who": "an')
    assert not acquire_hold(tmp_path, "again")
    with pytest.raises(GaplessError, match="on hold by somebody"):
        deploy_lock(tmp_path, why="deploy").__enter__()
