"""A hold with a lease: whoever has its token goes on, all others wait, and it ends by itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.linux import procfs
from gapless.release.clock import Clock
from gapless.release.deploy import deploy, rollback
from gapless.release.hold import acquire_hold, acquire_lease, hold, release_hold
from gapless.release.lock import deploy_lock
from tests.scripted import ScriptedManager
from tests.unit.release_kit import make_project
from tests.unit.release_shop import Shop


@dataclass
class Time:
    """A clock that a test turns: both of its hands, or the one that people set."""

    unix: float = 1795435805.0
    since_boot: float = 100.0
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(lambda: self.unix, lambda: self.since_boot, self.go_on)

    def go_on(self, seconds: float) -> None:
        self.unix += seconds
        self.since_boot += seconds


def test_a_lease_lets_its_holder_through_and_nobody_else(tmp_path: Path) -> None:
    """Invariant 2: who is refused reads the name that the holder gave, since when, until when, and why."""
    time = Time()
    token, taken = acquire_lease(tmp_path, "a fleet", 600, "ada@laptop", time.clock)
    assert token not in (tmp_path / "hold.json").read_text()
    assert taken.until == time.unix + 600
    words = r"on hold by ada@laptop since 2026-11-23 .* UTC, until 2026-11-23 .* UTC: a fleet"
    with pytest.raises(GaplessError, match=words) as refused:
        deploy_lock(tmp_path, why="deploy", clock=time.clock).__enter__()
    assert refused.value.status == 75
    with deploy_lock(tmp_path, why="deploy", clock=time.clock, lease=token) as lock:
        assert lock.holder.who == "ada@laptop"
    with pytest.raises(GaplessError, match="ada@laptop"):
        acquire_lease(tmp_path, "another", 600, clock=time.clock)
    assert not acquire_hold(tmp_path, "another", time.clock)


def test_a_token_that_its_holder_made_up(tmp_path: Path) -> None:
    """Whoever is cut off before the answer can end the lease all the same."""
    mine = "made up"
    assert acquire_lease(tmp_path, "a fleet", 600, token=mine)[0] == mine
    assert release_hold(tmp_path, mine)


def test_each_use_renews_a_lease(tmp_path: Path) -> None:
    """It lasts from the end of the last command, however long that took."""
    time = Time()
    token, _ = acquire_lease(tmp_path, "a fleet", 60, clock=time.clock)
    for _ in range(3):
        time.go_on(50)
        with deploy_lock(tmp_path, why="deploy", clock=time.clock, lease=token):
            time.go_on(500)
            assert hold(tmp_path, time.clock) is None, "nobody else is let in all the same: the deploy has the lock"
        found = hold(tmp_path, time.clock)
        assert found
        assert found.until == time.unix + 60


def test_a_lease_ends_by_itself_and_its_token_with_it(tmp_path: Path) -> None:
    """Invariant 2: whoever comes after that deploys, and who comes late with the token is refused."""
    time = Time()
    token, _ = acquire_lease(tmp_path, "a fleet", 60, clock=time.clock)
    time.go_on(61)
    with deploy_lock(tmp_path, why="deploy", clock=time.clock):
        pass
    with pytest.raises(GaplessError, match="it is over") as refused:
        deploy_lock(tmp_path, why="deploy", clock=time.clock, lease=token).__enter__()
    assert refused.value.status == 75
    other, _ = acquire_lease(tmp_path, "the next", 60, "bob@laptop", time.clock)
    with pytest.raises(GaplessError, match="over; deploys are on hold by bob@laptop"):
        deploy_lock(tmp_path, why="deploy", clock=time.clock, lease=token).__enter__()
    assert not release_hold(tmp_path, token, time.clock), "that is bob's"
    assert release_hold(tmp_path, other, time.clock)
    assert not release_hold(tmp_path, other, time.clock)


def test_a_clock_that_is_set_neither_ends_nor_prolongs_a_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes by the clock that nobody sets; after a boot there is the other alone."""
    time = Time()
    acquire_lease(tmp_path, "a fleet", 60, clock=time.clock)
    time.unix += 1e6
    assert hold(tmp_path, time.clock)
    time.unix -= 2e6
    time.since_boot += 61
    assert not hold(tmp_path, time.clock)
    monkeypatch.setattr(procfs, "boot", lambda: "another")
    assert hold(tmp_path, time.clock)
    time.unix += 2e6
    assert not hold(tmp_path, time.clock)


def test_waiting_for_the_end_of_a_lease(tmp_path: Path) -> None:
    """Whoever has time to wait gets his turn."""
    time = Time()
    acquire_lease(tmp_path, "a fleet", 60, clock=time.clock)
    with deploy_lock(tmp_path, why="deploy", wait=100, clock=time.clock):
        assert 160 <= time.since_boot < 161


def test_the_ledger_names_who_has_the_lease(tmp_path: Path) -> None:
    """The audit says who deployed from where, and not only that it was root here."""
    project = make_project(tmp_path / "shop")
    shop = Shop(project, ScriptedManager(project / ".gapless"))
    shop.deploy()
    token, _ = acquire_lease(shop.target.home.root, "a fleet", 3600, "ada@laptop")
    target = replace(shop.target, lease=token)
    deploy(target, project)
    rollback(target)
    assert [entry.who for entry in shop.target.ledger.entries()][1:] == ["ada@laptop"] * 2
