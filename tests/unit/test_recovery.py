"""The commit file is lost: which release is the current one, and nothing that serves is ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release.deploy import deploy, prune, rollback
from gapless.release.recovery import current
from gapless.release.watch import Watch
from gapless.switch.engine import repair
from gapless.switch.manager import Readiness, Role
from tests.scripted import ScriptedManager
from tests.unit.release_kit import configure, make_project
from tests.unit.release_shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    project = make_project(tmp_path / "shop")
    return Shop(project, ScriptedManager(project / ".gapless"))


def lose(shop: Shop, *serving: str, named: str | None = None) -> None:
    """The commit file is gone, or names `named`, and servers of these releases run."""
    manager = shop.manager
    manager.commit.unlink(missing_ok=True)
    if named:
        manager.commit.write_text(named)
    with manager.script():
        manager.running.clear()
        for release in serving:
            manager.spawn(release)


def test_the_only_one_that_serves_is_the_current_one(shop: Shop) -> None:
    """Invariant 11: whatever the ledger says: it is what answers visitors now."""
    first, second = shop.deploy(), shop.deploy()
    for serving in (first, second):
        lose(shop, serving)
        assert current(shop.target) == serving
        prune(shop.target, 5)
        assert shop.manager.current() == serving
        assert [one.role for one in shop.manager.instances()] == [Role.LIVE]
    assert "names no release" not in "".join(shop.observer.warnings[:-2])
    assert f"now it names {second}" in shop.observer.warnings[-1]


def test_where_several_serve_or_none_the_ledger_knows(shop: Shop) -> None:
    """Invariant 11: the last switch counts, a rollback's and a turning back included; then the link `current`."""
    first, second, third = shop.deploy(), shop.deploy(), shop.deploy()
    rollback(shop.target)
    shop.manager.end_retired()
    for serving in ([], [first, second, third]):
        lose(shop, *serving)
        assert current(shop.target) == second
    (shop.target.home.root / "ledger.jsonl").unlink()
    (shop.target.home.root / "current").symlink_to(f"releases/{first}")
    for serving in ([], [first, second]):
        lose(shop, *serving)
        assert current(shop.target) == first
    lose(shop, second, third)
    with pytest.raises(GaplessError, match="2 releases serve") as doubt:
        current(shop.target)
    assert f"({second})" in doubt.value.hint
    for command in (lambda: prune(shop.target, 5), lambda: rollback(shop.target), shop.deploy):
        with pytest.raises(GaplessError, match="cannot tell the current release"):
            command()
    assert {one.role for one in shop.manager.instances()} == {Role.CANDIDATE}  # none was told to go


def test_a_name_of_nobody_is_no_name(shop: Shop) -> None:
    """Invariant 11: a damaged file may name a release that never was; one that serves without its directory stays."""
    first = shop.deploy()
    lose(shop, first, named="20200101T000000Z-0000000")
    assert current(shop.target) == first
    lose(shop, "removed", named="removed")
    assert current(shop.target) == "removed"


def test_without_a_release_there_is_none(shop: Shop) -> None:
    """A first deploy that failed, and a ledger that outlived `down`, are no sign of a current release."""
    assert current(shop.target) is None
    shop.manager.readiness = Readiness.EXITED
    shop.fail("it said no")
    assert current(shop.target) is None
    shop.manager.readiness = Readiness.READY
    release = shop.deploy()
    shop.target.store.remove(release)
    lose(shop)
    assert current(shop.target) is None


def test_the_last_that_answers_is_not_retired(shop: Shop) -> None:
    """Invariant 11: while the current release does not run, another one that serves goes on."""
    first, second = shop.deploy(), shop.deploy()
    shop.manager.settle = lambda: None  # type: ignore[method-assign]  # it waits before it starts that again
    lose(shop, first, named=second)
    assert repair(shop.manager) == []
    lose(shop, first, second, named=second)
    assert [one.release for one in repair(shop.manager)] == [first]


def lost_in(shop: Shop, call: str) -> None:
    """The commit file goes inside the next call of the manager that a hook of this name runs in."""

    def lose_it() -> None:
        shop.manager.hooks.clear()
        shop.manager.commit.unlink()

    shop.manager.hooks[call] = lose_it


@pytest.mark.parametrize("ends", [Readiness.READY, Readiness.EXITED])
def test_a_file_that_is_lost_while_a_candidate_starts(shop: Shop, ends: Readiness) -> None:
    """Invariants 3 and 11: what served is named again, or its successor is; it is not retired for that."""
    first = shop.deploy()
    lost_in(shop, "after start")
    shop.manager.readiness = ends
    if ends is Readiness.READY:
        second = shop.deploy(drained=False)
        assert shop.manager.current() == second
        assert {one.release: one.role for one in shop.manager.instances()} == {first: Role.RETIRING, second: Role.LIVE}
        return
    shop.fail("it said no")
    assert [one.release for one in shop.manager.instances() if one.role is not Role.RETIRING] == [first]
    shop.manager.readiness = Readiness.READY
    prune(shop.target, 5)
    assert shop.manager.current() == first


def test_a_file_that_is_lost_during_a_build(shop: Shop) -> None:
    """Invariants 3 and 11: when the switchover begins, the only one that serves is not taken for a stray."""
    first = shop.deploy()
    # The build itself does it, as a build can; only a scripted manager keeps the file where it does.
    configure(shop.project, f'[build]\nrun = "rm {shop.manager.commit}"\n')
    shop.manager.readiness = Readiness.EXITED
    shop.fail("it said no")
    assert [(one.release, one.role) for one in shop.manager.instances()] == [(first, Role.LIVE)]


def test_a_file_that_is_lost_during_a_watch(shop: Shop) -> None:
    """Invariants 3 and 11: the release that is watched stays, and is named again; the old one alone retires."""
    first = shop.deploy()
    lost_in(shop, "after retire")  # right after the commit: the old one cannot stand by
    shop.time += 60
    second = deploy(shop.target, shop.project, watch=Watch(0.3)).release
    assert shop.manager.current() == second
    assert {one.release: one.role for one in shop.manager.instances()} == {first: Role.RETIRING, second: Role.LIVE}
