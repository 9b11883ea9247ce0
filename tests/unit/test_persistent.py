"""Directories that outlive releases, where the code looks for them; everything real but the manager."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gapless import shared
from gapless.doctor import leftovers
from gapless.doctor.finding import Severity
from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.files import remove_tree
from gapless.release.deploy import prune, rollback
from gapless.release.preview import preview_deploy
from tests.scripted import ScriptedManager
from tests.unit.release_kit import commit, configure, git, make_project
from tests.unit.release_shop import Shop

SHARED = '[shared]\nmedia = "media"\n"var/data" = "data/deep"\n'


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A project with directories that outlive its releases."""
    project = make_project(tmp_path / "shop")
    configure(project, SHARED)
    return Shop(project, ScriptedManager(project / ".gapless"))


def test_what_is_written_beside_the_code_outlives_its_release(shop: Shop) -> None:
    """Each release finds the same directories where its code looks for them, also one that a rollback brings back."""
    first = shop.target.store.path(shop.deploy())
    (first / "media/photo").write_text("of the first")
    (first / "var/data/row").write_text("1")
    second = shop.target.store.path(shop.deploy())
    assert (second / "media/photo").read_text() == "of the first"
    (second / "media/photo").write_text("of the second")
    remove_tree(shop.target.home.shared / "data")
    rollback(shop.target)
    assert (first / "media/photo").read_text() == "of the second"
    assert [*(first / "var/data").iterdir()] == []
    remove_tree(shop.target.home.shared / "data")
    assert leftovers.beside(shop.target.home.shared, ["data/deep", "media"]).state is Severity.FAILED
    prune(shop.target, 5)
    assert leftovers.beside(shop.target.home.shared, ["data/deep", "media"]).state is Severity.OK
    assert shop.observer.warnings == []


def test_what_git_has_there_is_left_out(shop: Shop) -> None:
    """It is named, but for what only keeps the directory in git; a plan says it before, and of equal content."""
    for name in ("media/.gitkeep", "media/deep/logo.svg", "var/data"):
        path = shop.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("git's")
    commit(shop.project)
    plan = preview_deploy(shop.target, shop.project)
    assert {"media/deep/logo.svg", "var/data"} <= plan.left_out.keys()
    assert "Link media in it to $GAPLESS_SHARED/media." in plan.steps
    release = shop.target.store.path(shop.deploy())
    assert (release / "media").readlink() == Path("../../shared/media")
    assert [*(release / "media").iterdir()] == []
    assert [*shop.target.home.shared.rglob("*.svg")] == []
    [warning] = shop.observer.warnings
    assert "'media/deep/logo.svg', 'var/data'" in warning
    assert "gitkeep" not in warning
    assert preview_deploy(shop.target, shop.project).changes == []


def test_a_link_of_gits_is_not_followed(shop: Shop, tmp_path: Path) -> None:
    """Neither one in the place of a directory, which goes, nor one above, which is refused by name."""
    (tmp_path / "else").mkdir()
    (tmp_path / "else/kept").write_text("")
    (shop.project / "media").symlink_to("app.py")
    commit(shop.project)
    release = shop.target.store.path(shop.deploy())
    assert (release / "media").is_dir()
    assert (release / "app.py").is_file()
    (shop.project / "inside").mkdir()
    (shop.project / "inside/kept").write_text("")
    (shop.project / "var").symlink_to("inside")
    commit(shop.project)
    failed = shop.fail("cannot link var/data of the release")
    assert "keep directories alone above var/data" in failed.hint
    git(shop.project, "rm", "-q", "-r", "var", "inside")
    shop.deploy()


@pytest.mark.parametrize(
    "build",
    [
        "rm media; mkdir media",
        "rm media; ln -s /etc media",
        "rm media",
        "rm -r var; ln -s ../../shared var",
    ],
)
def test_a_build_that_makes_something_else_of_it_is_refused(shop: Shop, build: str) -> None:
    """Invariants 3 and 9: what visitors give to that release would go with it; what serves goes on serving."""
    serving = shop.deploy()
    configure(shop.project, f'{SHARED}[build]\nrun = "{build}"\n')
    failed = shop.fail("its build put something else in the place of the link")
    assert "have the build leave" in failed.hint
    assert shop.manager.current() == serving


def test_a_directory_that_cannot_be_made(shop: Shop) -> None:
    """Invariant 8: a file in its place is named, and left alone."""
    place = shop.target.home.shared
    place.mkdir(parents=True)
    (place / "media").write_text("a file")
    failed = shop.fail("cannot make")
    assert str(place / "media") in str(failed)
    assert (place / "media").read_text() == "a file"


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root cannot become the app's account")
def test_root_makes_nothing_in_what_is_the_apps(tmp_path: Path) -> None:
    """Invariant 9: through a link of the app's into a directory of root's, nothing is made."""

    class Owned(Home):
        owner = "nobody"

    home = Owned(tmp_path / "home")
    home.shared.mkdir(parents=True)
    for path in (*tmp_path.parents, tmp_path, home.root):
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    os.chown(home.shared, 65534, 65534)
    (tmp_path / "roots").mkdir()
    (home.shared / "media").symlink_to(tmp_path / "roots")
    with pytest.raises(GaplessError, match="Permission denied"):
        shared.make(home, ["media/a"])
    shared.make(home, ["own/deep"])
    assert (home.shared / "own/deep").stat().st_uid == 65534
    assert [*(tmp_path / "roots").iterdir()] == []
