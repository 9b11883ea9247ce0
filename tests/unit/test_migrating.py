"""A migration apart from its deploy: one host of a database migrates, the others do not; the manager is scripted."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release.deploy import MIGRATED, Result, deploy, prune, rollback
from gapless.release.ledger import Outcome
from gapless.release.migrating import Migration
from gapless.release.preview import preview_deploy
from tests.scripted import ScriptedManager
from tests.unit.release_kit import commit, configure, make_project
from tests.unit.release_shop import Shop

COUNTS = """
[build]
run = "echo built >> $BUILDS"
[release]
migrate = "echo migrated >> $GAPLESS_SHARED/migrations"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Its builds and its migrations write a line each."""
    project = make_project(tmp_path / "shop")
    configure(project, COUNTS.replace("$BUILDS", str(tmp_path / "builds")))
    return Shop(project, ScriptedManager(project / ".gapless"))


def migrate(shop: Shop, migration: Migration = Migration.ONLY) -> Result:
    shop.time += 60
    return deploy(shop.target, shop.project, migration=migration)


def builds(shop: Shop) -> int:
    return len((shop.project.parent / "builds").read_text().split())


def migrations(shop: Shop) -> int:
    return len((shop.target.home.shared / "migrations").read_text().split())


def test_a_migration_alone_switches_nothing_over(shop: Shop) -> None:
    """Invariant 3: the release is made and sealed, the migration has run, and what served is not touched."""
    first = shop.deploy()
    running = shop.manager.instances()
    done = migrate(shop)
    assert (done.previous, done.outcome) == (first, MIGRATED)
    assert [phase.name for phase in done.phases] == ["install", "build", "seal", "migrate", "prune"]
    assert shop.manager.current() == first
    assert shop.manager.instances() == running
    entry = shop.target.ledger.entries()[-1]
    assert (entry.verb, entry.to, entry.outcome) == ("migrate", done.release, Outcome.SUCCEEDED)
    with pytest.raises(GaplessError, match="only migrated to"):
        rollback(shop.target, done.release)


def test_the_deploy_that_follows_takes_the_release_that_was_made(shop: Shop) -> None:
    """The same content is built once, and migrated once where the deploy is told so."""
    shop.deploy()
    made = migrate(shop).release
    plan = preview_deploy(shop.target, shop.project, migration=Migration.ONLY).steps
    assert plan[0] == f"Take release {made}, which is made of the same and waits since its migration."
    assert [step.split()[0] for step in plan] == ["Take", "Migrate"]
    assert migrate(shop).release == made, "again is the same release, migrated to once more"
    done = migrate(shop, Migration.WITHOUT)
    assert done.release == made == shop.manager.current()
    assert [phase.name for phase in done.phases] == ["switch over", "prune"]
    assert (builds(shop), migrations(shop)) == (2, 3)
    later = migrate(shop, Migration.WITHOUT)
    assert later.release != made, "it waits no more"
    assert (builds(shop), migrations(shop)) == (3, 3)
    assert rollback(shop.target).release == made


@pytest.mark.parametrize("changed", ["files", "settings", "variables"])
def test_another_content_is_a_release_of_its_own(shop: Shop, changed: str) -> None:
    """What differs in anything from the release that waits is made anew, and that one is removed."""
    shop.deploy()
    made = migrate(shop).release
    text = (shop.project / "gapless.toml").read_text()
    if changed == "files":
        (shop.project / "app.py").write_text("print('another')\n")
    elif changed == "settings":
        (shop.project / "gapless.toml").write_text(f"{text}[check]\ntimeout = 7\n")
    else:
        (shop.project / "gapless.toml").write_text(f"{text}[env]\nGREETING = 'hello'\n")
    commit(shop.project)
    assert shop.deploy() != made
    assert made not in shop.target.store.names()


def test_a_migration_that_failed_leaves_no_release_to_go_on_with(shop: Shop) -> None:
    """Invariant 3: the next deploy makes one of its own, and the ledger says what failed."""
    first = shop.deploy()
    migrating = COUNTS.replace("migrate = ", 'migrate = "exit 1" #').replace("echo built >> $BUILDS", "true")
    configure(shop.project, migrating)
    with pytest.raises(GaplessError, match="migration"):
        migrate(shop)
    entry = shop.target.ledger.entries()[-1]
    assert (entry.verb, entry.outcome) == ("migrate", Outcome.FAILED)
    assert shop.manager.current() == first
    assert migrate(shop, Migration.WITHOUT).release != entry.to


def test_a_release_that_waits_takes_no_good_ones_place(shop: Shop) -> None:
    """Invariant 11: it does not count toward those that are kept, and a prune takes it."""
    first, second = shop.deploy(), shop.deploy()
    waiting = migrate(shop).release
    assert shop.target.store.names() == [first, second, waiting]
    assert prune(shop.target, 2) == [waiting]
    assert rollback(shop.target).release == first
