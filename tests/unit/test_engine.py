"""The switchover on a scripted manager: whoever dies, and whenever, the invariants 1 to 5 hold."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gapless.errors import GaplessError
from gapless.switch.engine import MOVES, Outcome, Step, Switchover, repair
from gapless.switch.manager import Instance, Readiness, Started
from tests.scripted import ScriptedManager

RELEASES = ("r1", "r2", "r3")


class KilledError(BaseException):
    """SIGKILL to the deployer: from here on it can do nothing, not even clean up."""


class Death(enum.Enum):
    """What happens to the deployer at one of its calls."""

    KILLED_BEFORE = "killed before the effect"
    KILLED_AFTER = "killed after the effect"
    INTERRUPTED_BEFORE = "Ctrl-C before the effect"
    INTERRUPTED_AFTER = "Ctrl-C after the effect"


class Strict(ScriptedManager):
    """Checks, at each call, what a deployer must never do; and the deployer may die in one of them."""

    def __init__(self, current: str | None = None) -> None:
        super().__init__()
        self.can_stand_by = True
        self.death: Death | None = None
        self.calls_to_live = 0  # until `death`
        self.dead = False
        self.named = current
        self.settle()

    @contextmanager
    def called(self, call: str) -> Iterator[None]:
        if self.dead:
            raise KilledError
        self.calls_to_live -= 1
        death = self.death if self.calls_to_live == 0 else None
        self._die(death, Death.KILLED_BEFORE, Death.INTERRUPTED_BEFORE)
        with super().called(call):
            yield
        self._die(death, Death.KILLED_AFTER, Death.INTERRUPTED_AFTER)

    def _die(self, death: Death | None, killed: Death, interrupted: Death) -> None:
        if death is killed:
            self.dead = True
            raise KilledError
        if death is interrupted:
            raise KeyboardInterrupt

    def start(self, release: str, timeout: float) -> Started:
        others = [one for one in self.running if one.release != self.named and not one.retiring]
        assert not others, "invariant 2: a second candidate"
        return super().start(release, timeout)

    def retire(self, instance: Instance) -> None:
        assert instance.release != self.named, "invariant 3: what serves was touched"
        super().retire(instance)

    def stop(self, instance: Instance) -> None:
        assert not instance.ready, "invariant 6: it may have accepted connections"
        assert instance.release != self.named, "invariant 3: what serves was touched"
        super().stop(instance)

    def point(self, release: str) -> None:
        there = [one for one in self.running if one.release == release and not one.retiring]
        assert any(one.ready for one in there), "invariant 4: a release was committed that is not proven"
        assert not any(one.standing_by for one in there), "it was committed before it serves again"
        super().point(release)

    def stand_by(self, instance: Instance) -> bool:
        assert instance.release != self.named, "invariant 3: what serves was asked to stop"
        return super().stand_by(instance)


def refuse() -> None:
    """A commit that fails."""
    raise GaplessError("write", "current", "No space left on device")


class Switchovers(RuleBasedStateMachine):
    """Deploys and accidents in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.manager = Strict()

    def revive(self) -> None:
        """The next command is another process."""
        self.manager.dead, self.manager.death, self.manager.calls_to_live = False, None, 0
        self.manager.readiness, self.manager.can_stand_by = Readiness.READY, True
        self.manager.hooks.clear()

    def expect(self, fate: Readiness, refuses: bool) -> None:
        """How the next candidate ends, and whether the next commit is refused."""
        self.manager.readiness = fate
        if refuses:
            self.manager.hooks["before point"] = refuse

    @rule(
        release=st.sampled_from(RELEASES),
        fate=st.sampled_from(Readiness),
        refuses=st.booleans(),
        death=st.none() | st.sampled_from(Death),
        calls=st.integers(1, 12),
    )
    def deploy(self, release: str, fate: Readiness, refuses: bool, death: Death | None, calls: int) -> None:
        manager = self.manager
        manager.death, manager.calls_to_live = death, calls
        self.expect(fate, refuses)
        before, serving = manager.named, self.serving()
        moves: list[Step] = []
        switchover = Switchover(manager, release, 5, moves.append)
        outcome = None
        with suppress(KilledError, KeyboardInterrupt):
            outcome = switchover.run()

        assert all(to in MOVES[was] for was, to in itertools.pairwise(moves))
        assert manager.named in {before, release}, "invariant 5: neither the old nor the new release"
        if manager.named == before:
            assert serving <= self.serving(), "invariant 3: a failed deploy changed what serves"
        match outcome:
            case Outcome.SWITCHED:
                assert moves == [
                    Step.STARTING,
                    Step.PROVEN,
                    Step.COMMITTED,
                    Step.DONE,
                ]
                assert (manager.named, before != release) == (release, True)
            case Outcome.ALREADY_LIVE:
                assert (moves, before) == ([], release)
            case Outcome.NOT_READY | Outcome.NOT_COMMITTED:
                assert moves[-1] is Step.FAILED
                assert switchover.cause
                assert manager.named == before
        if not manager.dead and (outcome or Step.STARTING in moves):
            self.is_at_rest()  # it ended, or was interrupted and cleaned up
        self.revive()

    @precondition(lambda self: self.manager.named)
    @rule(
        release=st.sampled_from(RELEASES),
        warm=st.booleans(),
        survives=st.booleans(),
        passes=st.booleans(),
        fate=st.sampled_from(Readiness),
        refuses=st.booleans(),
        death=st.none() | st.sampled_from(Death),
        calls=st.integers(1, 30),
    )
    def deploy_on_trial(
        self,
        release: str,
        warm: bool,
        survives: bool,
        passes: bool,
        fate: Readiness,
        refuses: bool,
        death: Death | None,
        calls: int,
    ) -> None:
        """`fate` and `refuses` are what turning back meets; `survives`: the one that stands by."""
        manager = self.manager
        before, serving = manager.named, self.serving()
        if before == release:
            return
        manager.can_stand_by, manager.death, manager.calls_to_live = warm, death, calls
        moves: list[Step] = []
        switchover = Switchover(manager, release, 5, moves.append, keep=True)
        turning = False
        with suppress(KilledError, KeyboardInterrupt):
            assert switchover.run() is Outcome.SWITCHED
            assert moves == [
                Step.STARTING,
                Step.PROVEN,
                Step.COMMITTED,
                Step.WATCHING,
            ]
            if warm:
                assert all(one.standing_by for one in manager.running if one.id in serving)
            if passes:
                switchover.settle()
                assert moves[-1] is Step.DONE
            else:
                if not survives:
                    manager.running = [one for one in manager.running if one.release != before or one.retiring]
                self.expect(fate, refuses)
                turning = True
                turned = switchover.turn_back(5)
                assert moves[-1] is (Step.TURNED_BACK if turned else Step.DONE)
                assert turned or switchover.cause
                assert manager.named == (before if turned else release)
                if turned and warm and survives:
                    assert self.serving() == serving, "another instance serves than the one that stood by"

        assert all(to in MOVES[was] for was, to in itertools.pairwise(moves))
        assert manager.named in {before, release}, "invariant 5: neither the old nor the new release"
        if not manager.dead and moves and (turning or moves[-1] is not Step.WATCHING):
            self.is_at_rest()  # it ended, or was interrupted and cleaned up
        self.revive()

    @rule()
    def next_command_repairs(self) -> None:
        repair(self.manager)
        self.is_at_rest()
        assert repair(self.manager) == [], "invariant 7: the second time there is nothing to do"

    @precondition(lambda self: self.manager.named)
    @rule()
    def live_dies(self) -> None:
        self.manager.running = [one for one in self.manager.running if one.release != self.manager.named]
        self.manager.settle()

    @precondition(lambda self: any(one.retiring for one in self.manager.running))
    @rule(data=st.data())
    def drained(self, data: st.DataObject) -> None:
        self.manager.running.remove(data.draw(st.sampled_from([one for one in self.manager.running if one.retiring])))

    @precondition(lambda self: any(not one.ready for one in self.manager.running))
    @rule()
    def stray_becomes_ready(self) -> None:
        for one in self.manager.running:
            one.ready = True

    def serving(self) -> set[str]:
        """The instances of the current release that accept."""
        current = self.manager.named
        return {one.id for one in self.manager.running if one.release == current and not one.retiring}

    def is_at_rest(self) -> None:
        others = [one for one in self.manager.running if not one.retiring and one.release != self.manager.named]
        assert not others, "invariant 5: the command left an instance that is neither current nor retiring"

    @invariant()
    def somebody_serves(self) -> None:
        """Invariants 1 and 3: once there is a current release, a ready instance of it accepts."""
        if self.manager.named:
            accepting = [
                one for one in self.manager.running if one.id in self.serving() and one.ready and not one.standing_by
            ]
            assert len(accepting) == 1


TestSwitchovers = Switchovers.TestCase
TestSwitchovers.settings = settings(max_examples=300, stateful_step_count=20, deadline=None)


def test_every_move_outside_the_table_is_refused() -> None:
    """The table is the only way: also for a state that is entered twice."""
    for was, to in itertools.product(Step, Step):
        switchover = Switchover(Strict(), "r1", 1)
        switchover.state = was
        if to in MOVES[was]:
            switchover._move(to)
            assert switchover.state is to
        else:
            with pytest.raises(AssertionError, match=f"illegal move of a switchover: {was} -> {to}"):
                switchover._move(to)


def test_a_candidate_that_cannot_be_committed_drains_instead_of_being_killed() -> None:
    """Invariant 6: it was proven and may have accepted connections."""
    manager = Strict("r1")
    manager.hooks["before point"] = refuse
    switchover = Switchover(manager, "r2", 1)
    assert switchover.run() is Outcome.NOT_COMMITTED
    assert "No space left on device" in switchover.cause
    assert [(one.release, one.retiring) for one in manager.running] == [("r1", False), ("r2", True)]


def test_an_instance_that_drains_is_not_told_twice() -> None:
    """Invariant 7: a second SIGTERM means `hurry` to many servers."""
    manager = Strict("r2")
    old = manager.spawn("r1")
    assert [one.id for one in repair(manager)] == [old.id]
    assert repair(manager) == []
    assert old.retiring


@pytest.mark.parametrize("death", Death)
@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("survives", [True, False])
def test_turning_back_may_be_cut_short_at_any_call(death: Death, warm: bool, survives: bool) -> None:
    """Invariant 5: whoever dies while a release is turned back, one release serves, and the next command repairs."""
    for calls in range(1, 31):
        machine = Switchovers()
        machine.manager = Strict("r1")
        machine.deploy_on_trial("r2", warm, survives, False, Readiness.READY, False, death, calls)
        machine.somebody_serves()
        machine.next_command_repairs()
        machine.somebody_serves()
