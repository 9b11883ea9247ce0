"""Rolling back, pruning and dry runs; everything real but the manager (tests/scripted.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapless import timeouts
from gapless.errors import GaplessError
from gapless.release.deploy import Result, prune, rollback
from gapless.release.preview import plan_rollback, preview_deploy
from gapless.switch.engine import Outcome as Switched
from gapless.switch.manager import Readiness
from tests.scripted import ScriptedManager
from tests.unit.release_kit import configure, make_project
from tests.unit.release_shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    project = make_project(tmp_path / "shop")
    return Shop(project, ScriptedManager(project / ".gapless"))


def test_rollback(shop: Shop) -> None:
    """Rolling back goes one release at a time, and to the current one by name is already done (invariant 7)."""
    first, second, third = shop.deploy(), shop.deploy(), shop.deploy()
    assert rollback(shop.target).release == second
    assert rollback(shop.target).release == first
    before = shop.files()
    assert rollback(shop.target, first) == Result(first, first, Switched.ALREADY_LIVE)
    assert {**shop.files(), str(shop.target.home.root / "lock"): b""} == before
    with pytest.raises(GaplessError, match="no older good release"):
        rollback(shop.target)
    assert rollback(shop.target, third).previous == first
    assert shop.manager.current() == third
    assert [entry.verb for entry in shop.target.ledger.entries()][3:] == ["rollback"] * 3


def test_a_rollback_goes_by_the_settings_that_were_kept(shop: Shop) -> None:
    """Invariant 9: what somebody wrote into an older release since decides nothing; a prune removes the copy, too."""
    configure(shop.project, "[check]\ntimeout = 7\n")
    first = shop.deploy()
    configure(shop.project, "[release]\nkeep = 2\n")
    second = shop.deploy()
    written = shop.target.store.path(first) / "gapless.toml"
    written.chmod(0o644)
    written.write_text("[check]\ntimeout = 4000\n")
    assert rollback(shop.target).release == first
    assert shop.manager.timeouts[-1] == 7 + timeouts.DEPLOYER
    shop.deploy()
    shop.deploy()
    shop.deploy()
    copies = {path.stem for path in (shop.target.home.root / "env").glob("*.toml")}
    assert copies == {*shop.target.store.names()}
    assert second not in copies


def test_rollback_refuses_bad_and_missing_releases(shop: Shop) -> None:
    """Trap 11: a release that never served is refused even by name; an unknown one is answered with a list."""
    first = shop.deploy()
    configure(shop.project, '[build]\nrun = "exit 1"\n')
    shop.fail("status 1")
    bad = shop.target.ledger.entries()[-1].to
    with pytest.raises(GaplessError, match="its deploy failed"):
        rollback(shop.target, bad)
    with pytest.raises(GaplessError, match="no such release") as refused:
        rollback(shop.target, "r0")
    assert first in refused.value.hint
    with pytest.raises(GaplessError, match="no older good release"):
        rollback(shop.target)


def test_prune_keeps_good_ones_and_what_is_in_use(shop: Shop) -> None:
    """Trap 11: failed releases do not count and go; the current, the target and running ones never go."""
    configure(shop.project, "[release]\nkeep = 2\n")
    first = shop.deploy(drained=False)
    second = shop.deploy(drained=False)
    shop.manager.readiness = Readiness.EXITED
    shop.fail("it said no")
    assert len(shop.target.store.names()) == 3
    shop.manager.readiness = Readiness.READY
    third = shop.deploy(drained=False)
    assert shop.target.store.names() == [first, second, third]  # the first one still drains
    shop.manager.end_retired()
    assert prune(shop.target, 2) == [first]
    assert prune(shop.target, 2) == []
    rollback(shop.target)
    shop.manager.end_retired()
    fourth = shop.deploy()
    assert shop.target.store.names() == [second, third, fourth]  # the rollback target beyond the two kept
    assert not shop.target.store.log(first).exists()


def test_dry_runs_change_nothing(shop: Shop) -> None:
    """A dry run says every step in a sentence and leaves every file as it was."""
    configure(shop.project, '[build]\nrun = "make"\n[release]\nmigrate = ["./migrate", "a b"]\nkeep = 2\n')
    clean = Shop(shop.project, shop.manager)
    plan = preview_deploy(clean.target, clean.project).steps
    assert not clean.target.home.root.exists()
    assert len(plan) == 5
    assert plan[1:3] == ["Build it within 900 s: make", "Migrate within 300 s: ./migrate 'a b'"]
    assert plan[-1].endswith("the current release; it is the first.")
    configure(shop.project, "[release]\nkeep = 2\n")
    first, second = shop.deploy(), shop.deploy()
    before = shop.files()
    assert preview_deploy(shop.target, shop.project).steps[-1] == f"Remove release {first}."
    assert plan_rollback(shop.target)[-1] == f"Make {first} the current release instead of {second}, which then drains."
    assert plan_rollback(shop.target, second) == []
    assert shop.files() == before
