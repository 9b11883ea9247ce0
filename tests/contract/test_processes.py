"""The contract of every manager: what it does with sockets, and with real processes."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from gapless.linux import procfs
from gapless.switch.engine import Outcome, Switchover
from gapless.switch.manager import Readiness, Role
from tests.contract.worlds import Later, World, ask, live, named, traffic
from tests.support import backlog_of, wait_until


@pytest.mark.parametrize(
    ("behaviour", "command", "cause"),
    [
        ("exits", [], "exited with status 3 before it was ready"),
        ("crashes", [], "was killed by SIGSEGV before it was ready"),
        ("", ["no-such-program"], "could not execute 'no-such-program': No such file or directory (errno 2)"),
        ("", ["./gapless.toml"], "could not execute './gapless.toml': Permission denied (errno 13)"),
    ],
)
def test_a_candidate_that_ends_early_is_reported_and_not_started_again(
    world: World, behaviour: str, command: list[str], cause: str
) -> None:
    """Invariants 3 and 8: the cause is said in words, at once, and only the live instance is left."""
    first = live(world, world.release("r1"))
    world.release("bad", behaviour, command)

    started = world.manager.start("bad", 10)

    assert (started.readiness, started.cause) == (Readiness.EXITED, cause)
    assert world.manager.instances() == [first]
    # The live one dies and is started again: whatever the manager does after a death, it has done it by now.
    os.kill(first.pid, signal.SIGKILL)
    assert ask(world.address).startswith("r1 ")
    assert world.boots("bad") <= 1


@pytest.mark.parametrize("behaviour", ["hangs", "ignores SIGTERM"])
def test_a_candidate_that_hangs_times_out_and_can_be_stopped(world: World, behaviour: str) -> None:
    """Invariants 3 and 4: waiting ends in time, stop waits until it is gone, and the live one serves throughout."""
    live(world, world.release("r1"))
    world.release("bad", behaviour)
    with traffic(world.address) as answers:
        began = time.monotonic()
        started = world.manager.start("bad", 0.5)
        assert 0.5 <= time.monotonic() - began < 20
        assert started.readiness is Readiness.TIMED_OUT
        assert "not ready within 0.5 s" in started.cause
        assert started.instance
        world.manager.stop(started.instance)
        assert named(world, started.instance) is None
        assert not Path(f"/proc/{started.instance.pid}").exists()
    assert {answer.split()[0] for answer in answers} == {"r1"}


def test_a_retiring_instance_finishes_what_it_accepted(world: World) -> None:
    """Invariant 6: retire returns at once; the instance answers, and ends by itself."""
    # 1. A request is under way in r1.
    first = live(world, world.release("r1"))
    held = Later(world.address, "/hold")
    assert ask(world.address).startswith("r1 ")  # the queue is in order: r1 has accepted /hold before this
    # 2. r2 takes over; r1 retires.
    assert Switchover(world.manager, world.release("r2"), 10).run() is Outcome.SWITCHED
    retiring = named(world, first)
    assert retiring
    assert (retiring.role, retiring.ready) == (Role.RETIRING, True)
    wait_until(lambda: ask(world.address).startswith("r2 "))  # r1 may take one more until it hears of its end
    # 3. The request is answered by r1, which is gone then.
    (world.shared / "go").touch()
    assert held.result() == f"r1 {first.pid}"
    wait_until(lambda: named(world, first) is None)


def test_a_dead_live_instance_is_started_again_and_requests_wait_for_it(world: World) -> None:
    """Invariant 1: the socket is the same one, and what came in meanwhile is answered by the same release."""
    first = live(world, world.release("r1", ""))
    inode = world.inode()
    for _ in range(2):
        os.kill(first.pid, signal.SIGKILL)
        waiting = [Later(world.address) for _ in range(5)]
        for one in waiting:
            release, pid = one.result().split()
            assert release == "r1"
            assert int(pid) != first.pid
        again = next(one for one in world.manager.instances() if one.role is Role.LIVE)
        assert again.id != first.id
        first = again
    assert world.inode() == inode


def test_a_request_waits_as_long_as_the_restart_takes(world: World) -> None:
    """Invariant 1: connections stay in the kernel's queue until the live release accepts again."""
    (world.shared / "ready").touch()
    first = live(world, world.release("r1", "late"))
    (world.shared / "ready").unlink()
    os.kill(first.pid, signal.SIGKILL)
    waiting = Later(world.address)
    again = wait_until(lambda: [one for one in world.manager.instances() if one.pid != first.pid])[0]
    assert (again.role, again.ready) == (Role.LIVE, False)
    assert waiting.is_alive()
    (world.shared / "ready").touch()
    assert waiting.result() == f"r1 {again.pid}"


def test_a_candidate_that_meddles_with_the_shared_socket_is_put_right(world: World) -> None:
    """Invariant 1, trap 4: it cut the backlog and made accept block; both are undone once it is ready."""
    first = live(world, world.release("r1"))
    world.manager.start(world.release("r2", "meddles"), 10)
    pidfd = os.pidfd_open(first.pid)
    with socket.socket(fileno=procfs.take(pidfd, 3)) as shared:
        os.close(pidfd)
        assert backlog_of(shared) > 100
        assert not os.get_blocking(shared.fileno())


def test_an_instance_that_cannot_stand_by_goes_on(world: World) -> None:
    """Who is asked for what it does not understand still serves."""
    first = live(world, world.release("r1"))
    assert not world.manager.stand_by(first)
    assert not world.manager.resume(first)
    assert ask(world.address) == f"r1 {first.pid}"
