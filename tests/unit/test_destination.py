"""A destination's settings lie over the project's, and two installations do not get in each other's way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gapless import config, destination
from gapless.errors import GaplessError
from gapless.release.deploy import deploy
from gapless.release.preview import preview_deploy
from tests.scripted import ScriptedManager
from tests.unit.release_kit import commit, make_project
from tests.unit.release_shop import Shop

BASE = """
name = "shop"
command = ["gapless", "serve", "app:app"]
x-note = 2026-01-01
[env]
GREETING = "a \\"b\\" \\u007f ä"
[drain]
linger = 5.5
requests = "3s"
[processes.worker]
command = "python worker.py"
[sandbox]
jit = true
writable = ["/var/a", "/var/b"]
"""
STAGING = """
name = "shop-staging"
listen = "127.0.0.1:9000"
[drain]
linger = "1s"
[env]
PLACE = "staging"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = make_project(tmp_path / "shop", BASE)
    (directory / "gapless.staging.toml").write_text(STAGING)
    commit(directory)
    return directory


def refused(project: Path, base: str, staging: str) -> GaplessError:
    (project / "gapless.toml").write_text(base)
    (project / "gapless.staging.toml").write_text(staging)
    with pytest.raises(GaplessError) as caught:
        destination.load(project, "staging")
    assert caught.value.status == 2
    return caught.value


def test_what_a_destination_sets_counts_and_the_rest_is_the_projects(project: Path) -> None:
    """Tables are laid together, key by key; all that the project says otherwise stays, to the last character."""
    laid, base = destination.load(project, "staging"), destination.load(project)
    assert (laid.name, laid.addresses) == ("shop-staging", ["127.0.0.1:9000"])
    assert (laid.drain.linger, laid.drain.requests) == (1.0, 3.0)
    assert laid.env == {"GREETING": 'a "b" \x7f ä', "PLACE": "staging"}
    assert (laid.processes, laid.sandbox, laid.command) == (base.processes, base.sandbox, base.command)


def test_a_release_of_a_destination_has_one_file_of_settings(project: Path) -> None:
    """Whoever reads the release's gapless.toml later, a rollback too, reads what it was deployed with."""
    shop = Shop(project, ScriptedManager(project / ".gapless"))
    target = dataclasses.replace(shop.target, destination="staging")
    release = deploy(target, project).release
    assert config.load(target.store.path(release)) == destination.load(project, "staging")
    assert target.home.config(release).name == "shop-staging"
    assert preview_deploy(target, project).changes == []
    assert "setting name" in preview_deploy(shop.target, project).changes


@pytest.mark.parametrize(
    ("more", "staging", "said"),
    [
        ("", 'listen = "127.0.0.1:9000"', "`name` is shop"),
        ("", 'name = "staging"', "`listen` is 127.0.0.1:8000"),
        ('listen = ["127.0.0.1:1", "127.0.0.1:2"]', 'name = "b"\nlisten = "127.0.0.1:2"', "`listen` is 127.0.0.1:2"),
        (
            '[database]\npath = "shop.db"\nreplica = "s3://backups/shop"',
            'name = "b"\nlisten = "127.0.0.1:2"\n[database]\npath = "b.db"',
            "`database.replica` is s3://backups/shop",
        ),
    ],
)
def test_what_only_one_can_have_is_refused_naming_both(project: Path, more: str, staging: str, said: str) -> None:
    """Invariant 8: the same name or address twice is refused, with both files and what to set."""
    error = refused(project, f'name = "shop"\ncommand = "x"\n{more}\n', staging)
    assert said in error.cause
    assert str(project / "gapless.toml") in error.cause
    assert error.object == str(project / "gapless.staging.toml")
    assert "in gapless.staging.toml" in error.hint


def test_a_destination_without_a_file_is_refused(project: Path) -> None:
    """Invariant 8: a slip in the name says which file there would have to be; a path is no name."""
    with pytest.raises(GaplessError, match="there is no such file") as caught:
        destination.load(project, "stagin")
    assert caught.value.object == str(project / "gapless.stagin.toml")
    with pytest.raises(GaplessError, match="small letters, digits and dashes"):
        destination.load(project, "../staging")


def test_a_setting_that_no_project_has_is_refused_in_an_overlay_too(project: Path) -> None:
    """Invariant 8: a slip in a key is named with its file, and so is what is no TOML."""
    error = refused(project, BASE, f"{STAGING}\n[drian]\nlinger = 1\n")
    assert (error.cause, error.object) == ("unknown key `drian`", str(project / "gapless.staging.toml"))
    assert "not valid TOML" in refused(project, BASE, "name =").cause
    assert "is a date" in refused(project, BASE, f"{STAGING}\nB = 2026-01-01\n").cause


@pytest.mark.parametrize(
    "more",
    [
        f"{'a.' * 5000}a = 1",
        f"x = {'[' * 50_000}",
        f"[env.{'a.' * 490}a]\n{'a.' * 490}a = 1",
        f"[env]\nA = 0x{'f' * 5000}",
    ],
    ids=["dots", "brackets", "tables", "digits"],
)
def test_an_overlay_made_to_keep_its_reader_busy_is_refused(project: Path, more: str) -> None:
    """Invariants 8 and 9: whatever lies over gapless.toml, or below it, is read as fast, and refused in words."""
    assert refused(project, BASE, f"{STAGING}\n{more}\n").status == 2
    assert refused(project, f"{BASE}\n{more}\n", STAGING).status == 2


@pytest.mark.parametrize(
    "more", [f"check.timeout = 1{'0' * 4000}", "drain.linger = '8800h'", f"release.keep = 0x{'f' * 5000}"]
)
def test_a_number_that_nothing_can_wait_for_is_refused(project: Path, more: str) -> None:
    """Invariant 8: neither a unit nor a time-out is ever made of infinity."""
    assert refused(project, f"{BASE}\n{more}\n", STAGING).status == 2
