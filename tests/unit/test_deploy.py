"""A deploy, step by step; everything real but the manager (tests/scripted.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release.deploy import deploy
from gapless.release.ledger import Outcome
from gapless.release.lock import holder
from gapless.switch.engine import Outcome as Switched
from gapless.switch.manager import Readiness, Role
from tests.scripted import ScriptedManager
from tests.unit.release_kit import configure, make_project
from tests.unit.release_shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    project = make_project(tmp_path / "shop")
    return Shop(project, ScriptedManager(project / ".gapless"))


def test_a_deploy_from_end_to_end(shop: Shop) -> None:
    """A release is installed, built, migrated, switched to and recorded, phase by phase."""
    configure(shop.project, '[build]\nrun = "touch built"\n[release]\nmigrate = "touch $GAPLESS_SHARED/migrated"\n')
    first = shop.deploy()
    result = deploy(shop.target, shop.project)
    assert (result.previous, result.outcome) == (first, Switched.SWITCHED)
    assert [phase.name for phase in result.phases] == ["install", "build", "seal", "migrate", "switch over", "prune"]
    assert shop.observer.phases[6:] == [(phase.name, Outcome.SUCCEEDED) for phase in result.phases]
    assert {"built", "app.py"} <= {path.name for path in shop.target.store.path(first).iterdir()}
    assert (shop.target.home.shared / "migrated").exists()
    assert shop.manager.current() == result.release != first
    assert {one.release: one.role for one in shop.manager.instances()} == {
        first: Role.RETIRING,
        result.release: Role.LIVE,
    }
    entry = shop.target.ledger.entries()[-1]
    assert (entry.verb, entry.from_, entry.to, entry.outcome) == ("deploy", first, result.release, "succeeded")
    assert entry.revision.endswith("(main)")
    assert len(entry.phases) == 6
    assert holder(shop.target.home.root) is None
    assert shop.observer.warnings == []


def test_the_check_bounds_the_boot(shop: Shop) -> None:
    """The engine waits as long as the release's own check, and 5 s for its verdict."""
    configure(shop.project, '[check]\ntimeout = "7s"\n')
    shop.deploy()
    assert shop.manager.timeouts == [12.0]


def test_data_beside_the_code_is_named(shop: Shop) -> None:
    """Invariant 8: what the app wrote into its release does not come along; that is said before it is missed."""
    first = shop.deploy()
    (shop.target.store.path(first) / "app.db").write_text("2 rows")
    shop.deploy()
    [warning] = shop.observer.warnings
    assert warning.startswith(f"app.db in {first} changed since it was built")
    assert f"$GAPLESS_SHARED ({shop.target.home.shared})" in warning
    shop.deploy()
    assert shop.observer.warnings == [warning]


@pytest.mark.parametrize("failing", ["install", "build", "migrate", "switch over"])
def test_a_failed_deploy_changes_nothing_that_serves(shop: Shop, failing: str) -> None:
    """Invariant 3: whatever fails before the commit, the old release stays, and the ledger says what failed."""
    first = shop.deploy()
    settings = {
        "install": "[unknown]\n",
        "build": '[build]\nrun = "echo why; exit 1"\n',
        "migrate": '[release]\nmigrate = "echo why; exit 1"\n',
        "switch over": '[build]\nrun = "echo why"\n',
    }
    configure(shop.project, settings[failing])
    shop.manager.readiness = Readiness.EXITED
    error = shop.fail("unknown" if failing == "install" else "run the|it said no")
    assert error.details == (() if failing == "install" else ("why",))
    assert shop.manager.current() == first
    assert [(one.release, one.role) for one in shop.manager.instances()] == [(first, Role.LIVE)]
    entry = shop.target.ledger.entries()[-1]
    assert (entry.outcome, entry.error) == (Outcome.FAILED, str(error))
    assert (entry.phases[-1].name, entry.phases[-1].outcome) == (failing, Outcome.FAILED)
    assert shop.target.ledger.bad(entry.to)
    shop.manager.readiness = Readiness.READY
    configure(shop.project, "")
    assert shop.deploy() == shop.manager.current()


def test_a_failed_switch_says_who_serves(shop: Shop) -> None:
    """Invariant 8: the error of a failed switchover names the cause and what goes on serving."""
    shop.manager.readiness = Readiness.TIMED_OUT
    assert shop.fail("it said no").cause == "it said no; no release serves"
    shop.manager.readiness = Readiness.READY
    first = shop.deploy()
    shop.manager.readiness = Readiness.TIMED_OUT
    assert shop.fail("it said no").cause == f"it said no; {first} goes on serving"


def test_ctrl_c_is_recorded(shop: Shop) -> None:
    """Invariant 5: a deploy stopped by Ctrl-C is interrupted, frees the lock and leaves the old release."""
    first = shop.deploy()
    shop.manager.hooks["after start"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        shop.deploy()
    assert shop.outcomes()[-1] is Outcome.INTERRUPTED
    assert shop.manager.current() == first
    assert holder(shop.target.home.root) is None


def test_ctrl_c_after_the_commit(shop: Shop) -> None:
    """Invariant 5: what was committed is good, however late the Ctrl-C came."""
    first = shop.deploy()
    shop.manager.hooks["after point"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        shop.deploy()
    second = shop.manager.current()
    assert second not in (None, first)
    assert not shop.target.ledger.bad(str(second))


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_manager_that_fails_after_the_commit_is_a_warning(shop: Shop) -> None:
    """After the commit the deploy has succeeded: what fails then is said, but is no failure."""
    shop.deploy()

    def fail() -> None:
        raise GaplessError("retire", "it", "the manager is gone")

    shop.manager.hooks["after retire"] = fail
    release = shop.deploy(drained=False)
    assert shop.manager.current() == release
    assert shop.outcomes()[-1] is Outcome.SUCCEEDED
    assert any("the manager is gone" in warning for warning in shop.observer.warnings)


def test_a_failing_prune_is_a_warning(shop: Shop) -> None:
    """After the commit a prune that fails does not make the deploy fail."""
    shop.deploy()

    def fail() -> None:
        if (shop.manager.current(), shop.outcomes()[-1]) == (shop.target.store.names()[-1], Outcome.SUCCEEDED):
            raise GaplessError("list", "instances", "the manager is gone")

    shop.manager.hooks["after point"] = lambda: shop.manager.hooks.update({"before instances": fail})
    result = deploy(shop.target, shop.project)
    assert result.outcome is Switched.SWITCHED
    assert shop.observer.warnings == ["cannot list instances: the manager is gone"]
    assert shop.outcomes() == [Outcome.SUCCEEDED] * 2


def test_an_unwritable_ledger_does_not_hide_the_first_error(shop: Shop) -> None:
    """Invariant 8: when the ledger cannot be written either, the build's failure is what is raised, with a note."""
    ledger = shop.target.ledger.path  # a directory in its place stops root too
    configure(shop.project, f'[build]\nrun = "mv {ledger} {ledger}.old; mkdir {ledger}; exit 4"\n')
    error = shop.fail("it exited with status 4")
    assert len(error.__notes__) == 2
    assert "cannot write the ledger" in error.__notes__[0]


def test_an_unwritable_ledger_after_the_commit_is_a_warning(shop: Shop) -> None:
    """After the commit a ledger that cannot be written does not make the deploy fail."""
    path = shop.target.ledger.path

    def spoil() -> None:
        path.rename(path.with_suffix(".old"))
        path.mkdir()

    shop.manager.hooks["after point"] = spoil
    assert shop.deploy() == shop.manager.current()
    assert any("cannot write the ledger" in warning for warning in shop.observer.warnings)


def test_a_commit_that_fails(shop: Shop) -> None:
    """Invariant 3: when the commit is refused the old release stays current, and the error names the cause."""
    first = shop.deploy()

    def refuse() -> None:
        raise GaplessError("write", "the commit file", "No space left on device")

    shop.manager.hooks["before point"] = refuse
    assert shop.fail("No space left on device").cause.endswith(f"{first} goes on serving")
    assert shop.manager.current() == first
    assert shop.target.ledger.bad(shop.target.ledger.entries()[-1].to)


def test_a_second_deploy_is_refused(shop: Shop) -> None:
    """Invariant 2: a deploy that starts while another one runs is refused, naming the release of that one."""
    seen: list[GaplessError] = []

    def second() -> None:
        with pytest.raises(GaplessError) as refused:
            deploy(shop.target, shop.project)
        seen.append(refused.value)

    shop.manager.hooks["after start"] = second
    release = shop.deploy()
    assert seen[0].status == 75
    assert f"release {release}: deploy" in seen[0].cause
    assert shop.outcomes() == [Outcome.SUCCEEDED]
