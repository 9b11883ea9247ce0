"""The contract of every manager, as its instances and its commit show it: what needs neither a socket nor processes.

The scripted manager that other tests use (tests/scripted.py) keeps it, too.
"""

from __future__ import annotations

import time

import pytest

from gapless.errors import GaplessError
from gapless.switch.engine import Outcome, Switchover
from gapless.switch.manager import Instance, Readiness, Role
from tests.contract.worlds import AnyWorld, live, named
from tests.support import wait_until


def started_again(world: AnyWorld, dead: Instance) -> Instance:
    """The live instance that the manager starts after that one."""

    def after() -> list[Instance]:
        found = world.manager.instances()
        return [one for one in found if one.role is Role.LIVE and one.ready and one.id != dead.id]

    return wait_until(after)[0]


def test_a_candidate_that_says_ready_is_ready_and_the_live_one_is_left_alone(any_world: AnyWorld) -> None:
    """Invariant 3: starting a candidate changes nothing about the live instance."""
    first = live(any_world, any_world.release("r1"))

    started = any_world.manager.start(any_world.release("r2"), 10)

    assert started.instance
    assert (started.readiness, started.cause) == (Readiness.READY, "")
    assert (started.instance.release, started.instance.role, started.instance.ready) == ("r2", Role.CANDIDATE, True)
    assert named(any_world, first) == first
    assert [one.release for one in any_world.manager.instances()] == ["r1", "r2"]
    assert set(any_world.manager.in_use()) == {"r1", "r2"}
    assert abs(started.instance.since - time.time()) < 10


@pytest.mark.parametrize(
    ("behaviour", "timeout", "readiness"), [("exits", 10, Readiness.EXITED), ("hangs", 0.5, Readiness.TIMED_OUT)]
)
def test_a_candidate_that_is_not_ready_is_reported_and_can_be_stopped(
    any_world: AnyWorld, behaviour: str, timeout: float, readiness: Readiness
) -> None:
    """Invariant 3: the engine stops whatever was not ready, also when it ended by itself, and nothing else goes."""
    first = live(any_world, any_world.release("r1"))
    started = any_world.manager.start(any_world.release("bad", behaviour), timeout)
    assert started.readiness is readiness
    assert started.cause
    assert started.instance
    assert not started.instance.ready
    if readiness is Readiness.EXITED:  # one that timed out may be told to go by its manager, too
        assert named(any_world, started.instance) is None
    any_world.manager.stop(started.instance)
    assert any_world.manager.instances() == [first]


def test_retire_and_stop_can_be_repeated(any_world: AnyWorld) -> None:
    """Invariant 7: on an instance that retires, or is gone, they are no errors."""
    live(any_world, any_world.release("r1"))
    candidate = any_world.manager.start(any_world.release("r2"), 10).instance
    assert candidate
    for _ in range(2):
        any_world.manager.retire(candidate)
    wait_until(lambda: named(any_world, candidate) is None)
    for _ in range(2):
        any_world.manager.retire(candidate)
        any_world.manager.stop(candidate)
    assert [one.release for one in any_world.manager.instances()] == ["r1"]


def test_retire_and_stop_mean_the_very_instance(any_world: AnyWorld) -> None:
    """Invariant 3: another instance of the same release is not touched, be it beside that one or in its place."""
    # 1. Two candidates of one release, of which each is told to go.
    first = live(any_world, any_world.release("r1"))
    any_world.release("r2")
    one, other = (any_world.manager.start("r2", 10).instance for _ in range(2))
    assert one
    assert other
    assert one.id != other.id
    any_world.manager.stop(one)
    assert any_world.manager.instances() == [first, other]
    any_world.manager.retire(other)
    wait_until(lambda: any_world.manager.instances() == [first])
    # 2. The live one is started again: whoever means the one before does not reach it.
    any_world.kill(first)
    again = started_again(any_world, first)
    any_world.manager.retire(first)
    any_world.manager.stop(first)
    assert any_world.manager.instances() == [again]


def test_a_ready_candidate_that_dies_is_not_started_again(any_world: AnyWorld) -> None:
    """Only the current release is ever started by the manager itself."""
    first = live(any_world, any_world.release("r1"))
    candidate = any_world.manager.start(any_world.release("r2"), 10).instance
    assert candidate
    any_world.kill(candidate)
    wait_until(lambda: named(any_world, candidate) is None)
    any_world.kill(first)
    again = started_again(any_world, first)
    assert again.release == "r1"
    assert any_world.manager.instances() == [again]
    assert any_world.boots("r2") == 1


def test_the_current_release_is_not_started_twice(any_world: AnyWorld) -> None:
    """Two live instances would make `the live one` mean nothing."""
    first = live(any_world, any_world.release("r1"))
    with pytest.raises(GaplessError, match=f"runs already \\(pid {first.pid}\\)"):
        any_world.manager.start("r1", 10)
    assert any_world.manager.instances() == [first]


def test_an_instance_without_a_private_socket_cannot_stand_by(any_world: AnyWorld) -> None:
    """Only a gapless server can; any other says so at once."""
    first = live(any_world, any_world.release("r1"))
    assert not any_world.manager.stand_by(first)
    assert not any_world.manager.resume(first)
    assert any_world.manager.instances() == [first]


def test_pointing_is_atomic_whenever_it_is_killed(any_world: AnyWorld) -> None:
    """Invariant 5: SIGKILL while a process points in a loop; at any instant `current` is one of the two."""
    for name in ("r1", "r2"):
        any_world.release(name)
    any_world.manager.point("r1")
    for _ in range(6):
        seen: set[str | None] = set()
        process = any_world.caller("while True: manager.point('r1'); manager.point('r2')")
        wait_until(lambda seen=seen: seen.add(any_world.manager.current()) or len(seen) > 1)  # type: ignore[misc]
        seen |= {any_world.manager.current() for _ in range(2000)}
        process.kill()
        process.wait()
        assert seen | {any_world.manager.current()} == {"r1", "r2"}
    any_world.manager.point("r1")
    assert any_world.manager.current() == "r1"


def test_without_its_file_there_is_no_commit(any_world: AnyWorld) -> None:
    """Invariant 5: that one file names the current release; what serves goes on without it."""
    assert any_world.manager.current() is None
    first = live(any_world, any_world.release("r1"))
    any_world.manager.commit.unlink()
    assert any_world.manager.current() is None
    assert [one.id for one in any_world.manager.instances()] == [first.id]
    any_world.manager.point("r1")
    assert any_world.manager.instances() == [first]


def test_pointing_at_what_is_no_release_changes_nothing(any_world: AnyWorld) -> None:
    """Invariant 8: it is refused, naming the release."""
    any_world.manager.point(any_world.release("r1"))
    for wrong in ("r9", "../releases/r1", ""):
        with pytest.raises(GaplessError, match=f"the release '{wrong}'"):
            any_world.manager.point(wrong)
        with pytest.raises(GaplessError, match=f"the release '{wrong}'"):
            any_world.manager.start(wrong, 1)
    assert any_world.manager.current() == "r1"


def test_a_deployer_killed_after_readiness_leaves_a_state_that_the_next_command_repairs(any_world: AnyWorld) -> None:
    """Invariant 5: both serve; the next switchover retires the stray and does its own work."""
    live(any_world, any_world.release("r1"))
    any_world.release("r2")
    deployer = any_world.caller("manager.start('r2', 10); import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    deployer.wait()
    assert [(one.release, one.role) for one in any_world.manager.instances()] == [
        ("r1", Role.LIVE),
        ("r2", Role.CANDIDATE),
    ]
    assert Switchover(any_world.manager, any_world.release("r3"), 10).run() is Outcome.SWITCHED
    wait_until(lambda: [one.release for one in any_world.manager.instances()] == ["r3"])
