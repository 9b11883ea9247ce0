"""A release that waits to be confirmed: it stays if somebody does, else the one before serves again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.linux import procfs
from gapless.release import pause, unconfirmed
from gapless.release.attempt import Target
from gapless.release.clock import Clock
from gapless.release.confirming import Confirmed, confirm
from gapless.release.deploy import Result, deploy, locked, prune, rollback
from gapless.release.hold import acquire_hold, acquire_lease, hold, release_hold
from gapless.release.ledger import Outcome
from gapless.release.lock import deploy_lock
from gapless.release.preview import preview_deploy
from gapless.release.watch import Watch
from gapless.switch.manager import Readiness, Role
from tests.scripted import ScriptedManager
from tests.unit.release_kit import make_project
from tests.unit.release_shop import Shop as Plain

CONFIRM = Watch(0.0, confirm=30.0)


@dataclass
class Watcher:
    """A guard that only says whether it is to be there."""

    sign: Path

    @property
    def on(self) -> bool:
        return self.sign.exists()

    def begin(self) -> None:
        self.sign.touch()

    def end(self) -> None:
        self.sign.unlink(missing_ok=True)


@dataclass
class Shop(Plain):
    """Its clock stands still but for what a test adds, and its manager's instances can stand by."""

    since_boot: float = 100.0

    @property
    def guard(self) -> Watcher:
        return Watcher(self.project.parent / "guarded")

    @property
    def target(self) -> Target:
        clock = Clock(lambda: self.time, lambda: self.since_boot, self.go_on)
        return replace(super().target, clock=clock, guard=self.guard)

    def go_on(self, seconds: float) -> None:
        self.time += seconds
        self.since_boot += seconds

    def try_out(self, watch: Watch = CONFIRM) -> Result:
        self.go_on(60)
        return deploy(self.target, self.project, watch=watch)

    def repair(self) -> None:
        """What the guard, or any next command, does."""
        with locked(self.target, "turn back", deploys=False):
            pass

    def serving(self) -> str:
        """The one release that accepts; all others stand by or retire."""
        with self.manager.script():
            [one] = [one.release for one in self.manager.running if not one.retiring and not one.standing_by]
        assert one == self.manager.current()
        return one

    def warm(self) -> list[str]:
        with self.manager.script():
            return [one.release for one in self.manager.running if one.standing_by]

    def waits(self) -> unconfirmed.Unconfirmed | None:
        return unconfirmed.read(self.target.home.root)

    def bad(self, release: str) -> bool:
        return self.target.ledger.bad(release)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    project = make_project(tmp_path / "shop")
    manager = ScriptedManager(project / ".gapless")
    manager.can_stand_by = True
    return Shop(project, manager)


def test_a_release_that_is_confirmed_stays(shop: Shop) -> None:
    """Invariant 7: the one before stands by until then, and drains; a second time is already."""
    first = shop.deploy()
    result = shop.try_out()
    assert result.confirm_by == shop.time + 30
    assert shop.guard.on
    assert (shop.serving(), shop.warm()) == (result.release, [first])
    assert confirm(shop.target, result.release) == Confirmed(result.release, True)
    assert not shop.guard.on
    roles = {one.release: one.role for one in shop.manager.instances()}
    assert roles == {first: Role.RETIRING, result.release: Role.LIVE}
    assert confirm(shop.target, result.release) == Confirmed(result.release, False)
    assert confirm(shop.target) == Confirmed(result.release, False)
    entry = shop.target.ledger.entries()[-1]
    assert ([one.name for one in entry.phases][-1], entry.outcome) == ("confirm", Outcome.SUCCEEDED)
    shop.go_on(60)
    shop.repair()
    assert shop.serving() == result.release


def test_a_release_that_nobody_confirms_is_turned_back(shop: Shop) -> None:
    """Invariant 3: the warm one serves again, the other is a bad one, and a confirmation that comes late is refused."""
    first = shop.deploy()
    boots = len(shop.manager.boots)
    release = shop.try_out().release
    shop.go_on(29.9)
    assert shop.waits()
    shop.go_on(0.2)
    shop.repair()
    assert shop.serving() == first
    assert shop.manager.boots[boots:] == [release], "the warm one was not booted again"
    assert shop.bad(release)
    assert not shop.guard.on
    assert shop.waits() is None
    entry = shop.target.ledger.entries()[-1]
    assert (entry.to, entry.outcome, entry.turned_back) == (release, Outcome.FAILED, True)
    assert "nobody confirmed it until" in entry.error
    for named in (release, None):
        with pytest.raises(GaplessError, match=f"not the current release: {first} serves"):
            confirm(shop.target, named)
    shop.repair()
    assert shop.serving() == first


def test_a_confirmation_that_only_moves_the_end(shop: Shop) -> None:
    """With a time to stand by the one before stays warm, and the other is turned back at the new end."""
    first = shop.deploy()
    release = shop.try_out().release
    shop.go_on(20)
    until = shop.time + 600
    assert confirm(shop.target, release, 600.0) == Confirmed(release, True, until)
    assert shop.warm() == [first]
    shop.go_on(599)
    assert shop.waits()
    shop.go_on(2)
    shop.repair()
    assert shop.serving() == first


DECIDE_BY_THE_WAY: dict[str, Callable[[Shop], object]] = {
    "deploy": lambda shop: deploy(shop.target, shop.project),
    "prune": lambda shop: prune(shop.target, 2),
    "rollback to what serves": lambda shop: rollback(shop.target, shop.manager.current()),
    "pause": lambda shop: pause.begin(shop.target, 30.0),
}


@pytest.mark.parametrize("what", DECIDE_BY_THE_WAY)
def test_nothing_else_decides_about_it(shop: Shop, what: str) -> None:
    """Invariants 2, 12: a command that would is refused, says who, since when and until when, and touches nothing."""
    first = shop.deploy()
    release = shop.try_out().release
    with pytest.raises(
        GaplessError, match=rf"{release} waits to be confirmed \(by .* since .*{first} serves again"
    ) as no:
        DECIDE_BY_THE_WAY[what](shop)
    assert no.value.status == 75
    assert (shop.serving(), shop.warm()) == (release, [first])


def test_a_rollback_turns_back_at_once(shop: Shop) -> None:
    """Whoever decides has it done now, by the warm one; and to an older one by name goes on from there."""
    first, second = shop.deploy(), shop.deploy()
    release = shop.try_out().release
    done = rollback(shop.target)
    assert (done.release, done.previous) == (second, release)
    assert shop.serving() == second
    assert shop.bad(release)
    assert "asked for it" in shop.target.ledger.entries()[-1].error
    shop.try_out()
    assert rollback(shop.target, first).release == first == shop.manager.current()


@pytest.mark.parametrize("keeps", [True, False])
def test_whoever_heard_no_answer_asks_again(shop: Shop, keeps: bool) -> None:
    """Invariant 7: it is done already, though the lease ended with that: also while this one waited for the lock."""
    first = shop.deploy()
    token, _ = acquire_lease(shop.target.home.root, "deploy", 600, clock=shop.target.clock)
    leased = replace(shop.target, lease=token)
    shop.go_on(60)
    release = deploy(leased, shop.project, watch=CONFIRM).release

    def ask(target: Target) -> str:
        return confirm(target, release).release if keeps else rollback(target, first).release

    def first_does_it(_seconds: float) -> None:
        ours.close()
        if hold(shop.target.home.root, shop.target.clock):
            ask(leased)
            release_hold(shop.target.home.root, token)

    wanted = release if keeps else first
    with ExitStack() as ours:
        ours.enter_context(
            deploy_lock(shop.target.home.root, why="a", clock=leased.clock, lease=token, lets=lambda _: True)
        )
        waits = replace(leased, clock=replace(leased.clock, sleep=first_does_it))
        assert ask(waits) == wanted
    assert ask(leased) == wanted
    assert shop.serving() == wanted
    with pytest.raises(GaplessError, match="lease of this command"):
        rollback(leased, first if keeps else release)


def test_nobodys_hold_keeps_a_release_that_nobody_confirms(shop: Shop) -> None:
    """The lease of whoever was cut off does not: turning back deploys nothing."""
    first = shop.deploy()
    shop.try_out()
    acquire_hold(shop.target.home.root, "a fleet", shop.target.clock)
    shop.go_on(31)
    shop.repair()
    assert shop.serving() == first


def killed(shop: Shop, call: str, act: Callable[[], object]) -> None:
    """Do that in a process of its own, which is killed at that call of the manager."""
    if (child := os.fork()) == 0:
        try:
            shop.manager.hooks = {call: lambda: os.kill(os.getpid(), signal.SIGKILL)}
            act()
        finally:
            os._exit(3)  # it was to be killed
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    shop.go_on(60)


@pytest.mark.parametrize("call", ["before start", "after start", "before point"])
def test_killed_before_the_commit(shop: Shop, call: str) -> None:
    """Invariant 5: nothing waits, and what served goes on."""
    first = shop.deploy()
    killed(shop, call, shop.try_out)
    shop.repair()
    assert shop.serving() == first
    assert shop.waits() is None
    assert not shop.guard.on
    shop.manager.end_retired()
    shop.deploy()


@pytest.mark.parametrize("call", ["after point", "before stand_by", "after stand_by"])
def test_killed_after_the_commit(shop: Shop, call: str) -> None:
    """Invariant 5: nobody could confirm it, so the guard turns back at once, or the next command does."""
    first = shop.deploy()
    killed(shop, call, shop.try_out)
    release = shop.manager.current()
    assert release
    assert release != first
    assert shop.guard.on
    shop.repair()
    assert shop.serving() == first
    assert shop.bad(release)
    assert not shop.guard.on
    entry = shop.target.ledger.entries()[-1]
    assert "its deploy was cut off" in entry.error


@pytest.mark.parametrize("call", ["before resume", "after resume", "before point", "after point", "before retire"])
def test_killed_while_it_turns_back(shop: Shop, call: str) -> None:
    """Invariant 5: one of the two serves at any moment, and the next command finishes it, the ledger included."""
    first = shop.deploy()
    release = shop.try_out().release
    shop.go_on(31)
    killed(shop, call, shop.repair)
    assert shop.manager.current() in {first, release}
    shop.repair()
    assert shop.serving() == first
    assert shop.bad(release)
    assert shop.waits() is None


def test_after_a_boot_it_is_turned_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 5: nobody may expect it to stay, though its time is not over; the one before boots, and is proven."""
    first = shop.deploy()
    release = shop.try_out().release
    with shop.manager.script():
        shop.manager.running.clear()
    monkeypatch.setattr(procfs, "boot", lambda: "another")
    shop.repair()
    assert shop.serving() == first
    assert shop.bad(release)


def test_one_that_cannot_serve_again_leaves_what_serves(shop: Shop) -> None:
    """Invariant 11: turning back never ends the only server; it is said, and not tried for ever."""
    shop.manager.can_stand_by = False
    first = shop.deploy()
    release = shop.try_out().release
    shop.manager.end_retired()
    shop.manager.readiness = Readiness.EXITED
    shop.go_on(31)
    shop.repair()
    assert shop.manager.current() == release
    assert shop.waits() is None
    [warning] = shop.observer.warnings
    assert f"{first} could not serve again" in warning
    assert not shop.bad(release)


def test_the_first_release_needs_nobody(shop: Shop) -> None:
    """There is nothing to turn back to: it stays, and that is said."""
    result = shop.try_out()
    assert result.confirm_by is None
    assert shop.waits() is None
    assert "so this first one is not watched" in shop.observer.warnings[0]


def test_the_plan_says_what_happens_without_a_confirmation(shop: Shop) -> None:
    """A dry run names both ends."""
    shop.deploy()
    assert "unless" not in str(preview_deploy(shop.target, shop.project).steps)
    steps = preview_deploy(shop.target, shop.project, watch=CONFIRM).steps
    assert any("if no `gapless confirm` comes within 30 s" in step for step in steps)
