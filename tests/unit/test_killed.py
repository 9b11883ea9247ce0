"""Deployers killed by SIGKILL in every phase: the next command finds a legal state and repairs the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.release.attempt import Target
from gapless.release.deploy import deploy, prune, rollback
from gapless.release.ledger import Outcome
from gapless.release.lock import holder
from gapless.switch.manager import Role
from tests.scripted import ScriptedManager
from tests.unit.release_kit import configure, deploy_killed, make_project

KILL = "kill -9 $DEPLOYER"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "shop")


@pytest.fixture
def manager(project: Path) -> ScriptedManager:
    return ScriptedManager(project / ".gapless")


@pytest.fixture
def target(project: Path, manager: ScriptedManager) -> Target:
    return Target(Home(project / ".gapless"), manager)


def die_in_install(project: Path) -> None:
    """The deployer dies when the first file is half there."""
    deploy_killed(project, at="install")


def die_in_build(project: Path) -> None:
    configure(project, f'[build]\nrun = "{KILL}"\n')
    deploy_killed(project)


def die_in_migrate(project: Path) -> None:
    configure(project, f'[release]\nmigrate = "{KILL}"\n')
    deploy_killed(project)


PHASES = {
    "install": (die_in_install, []),
    "build": (die_in_build, ["install"]),
    "migrate": (die_in_migrate, ["install", "seal"]),
    "start": (lambda project: deploy_killed(project, at="after start"), ["install", "seal"]),
    "before the commit": (lambda project: deploy_killed(project, at="before point"), ["install", "seal"]),
}


@pytest.mark.parametrize("phase", PHASES)
def test_killed_before_the_commit(project: Path, target: Target, manager: ScriptedManager, phase: str) -> None:
    """Invariant 5: the old release stays current, the lock is free, and the next deploy repairs and works."""
    first = deploy(target, project, "HEAD").release
    die, ended = PHASES[phase]
    die(project)
    assert target.manager.current() == first
    killed = target.ledger.entries()[-1]
    assert (killed.outcome, [one.name for one in killed.phases]) == (Outcome.INTERRUPTED, ended)
    configure(project, "")

    result = deploy(Target(target.home, target.manager, lock_wait=20), project, "HEAD")  # the orphan may end just now
    assert result.previous == first
    assert [entry.outcome for entry in target.ledger.entries()] == ["succeeded", "interrupted", "succeeded"]
    assert target.ledger.entries()[1].error == "the deploy was killed"
    assert target.ledger.unfinished() == []
    roles = {one.release: one.role for one in target.manager.instances()}
    assert roles.pop(result.release) is Role.LIVE
    assert set(roles.values()) == {Role.RETIRING}
    manager.end_retired()  # a killed deployer's candidate may have run until now, and kept its release
    prune(target, 5)
    assert sorted(path.name for path in target.store.releases.iterdir()) == [first, result.release]
    assert rollback(target).release == first


def test_killed_in_the_first_copy_leaves_only_an_incoming_release(project: Path, target: Target) -> None:
    """Invariant 5: a half-installed release is not visible as one."""
    die_in_install(project)
    assert target.store.names() == []
    assert len(list(target.store.releases.glob(".incoming-*"))) == 1
    with pytest.raises(GaplessError, match="cannot roll back from nothing"):
        rollback(target)
    assert list(target.store.releases.iterdir()) == []


@pytest.mark.parametrize("at", ["after point", "after retire"])
def test_killed_after_the_commit(project: Path, target: Target, at: str) -> None:
    """Invariant 5: the new release is current and good, and the next command retires the old one."""
    first = deploy(target, project, "HEAD").release
    deploy_killed(project, at=at)
    second = target.manager.current()
    assert second not in (None, first)
    assert rollback(target, second).release == second  # already; but it repairs
    assert {one.release: one.role for one in target.manager.instances()} == {
        first: Role.RETIRING,
        second: Role.LIVE,
    }
    assert target.ledger.entries()[-1].outcome is Outcome.INTERRUPTED
    assert not target.ledger.bad(str(second))
    assert rollback(target).release == first


def test_killed_in_the_prune(project: Path, target: Target) -> None:
    """Invariant 5: a half-removed release is not visible, and the next command removes the rest of it."""
    configure(project, '[build]\nrun = "exit 1"\n')
    with pytest.raises(GaplessError):
        deploy(target, project, "HEAD")
    configure(project, "")
    deploy_killed(project, at="prune")
    current = target.manager.current()
    assert target.store.names() == [current]
    assert len(list(target.store.releases.glob(".removing-*"))) == 1
    assert target.ledger.entries()[-1].outcome is Outcome.SUCCEEDED
    rollback(target, current)
    assert [path.name for path in target.store.releases.iterdir()] == [current]


def test_an_orphan_migration_keeps_a_second_one_out(project: Path, target: Target, tmp_path: Path) -> None:
    """Invariant 2: while a killed deployer's migration runs no other deploy starts; then the next one works."""
    first = deploy(target, project, "HEAD").release
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    configure(project, f'[release]\nmigrate = "{KILL}; read line < {gate}"\n')
    deploy_killed(project)
    with pytest.raises(GaplessError, match="its deployer is gone, but a command") as refused:
        deploy(target, project, "HEAD")
    assert refused.value.status == 75
    assert "(migrate)" in refused.value.cause
    assert target.ledger.entries()[-1].to in refused.value.cause
    assert target.manager.current() == first
    gate.write_text("go\n")
    configure(project, "")
    assert deploy(Target(target.home, target.manager, lock_wait=20), project, "HEAD").previous == first
    assert holder(target.home.root) is None
