"""Whether a deploy would change anything is known before it: by what a release is made of, however it came."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gapless.release import content, difference
from gapless.release.preview import preview_deploy
from tests.scripted import ScriptedManager
from tests.unit.release_kit import commit, configure, git, make_project
from tests.unit.release_shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    project = make_project(tmp_path / "shop")
    configure(project, 'env_file = "app.secret"\n[secrets]\ndb = "db.secret"\n[env]\nPLACE = "$GAPLESS_SHARED/x"\n')
    (project / "app.secret").write_text("GREETING=hello\n")
    (project / "db.secret").write_text("pass")
    return Shop(project, ScriptedManager(project / ".gapless"))


def changes(shop: Shop, source: str | None = None) -> list[str]:
    return preview_deploy(shop.target, shop.project, source).changes


def test_before_the_first_release_everything_is_new(shop: Shop) -> None:
    """Without a release there is nothing to compare with, and a deploy changes something."""
    assert changes(shop) == ["there is no release of shop yet"]
    assert preview_deploy(shop.target, shop.project).current is None


def test_the_same_content_is_no_change_however_it_comes(shop: Shop, tmp_path: Path) -> None:
    """Invariant 13: a directory, a revision, an archive and a copy of one commit are the same, after a build too."""
    text = (shop.project / "gapless.toml").read_text()
    (shop.project / "gapless.toml").write_text(f'{text}[build]\nrun = "echo built > app.py; touch more"\n')
    commit(shop.project)
    release = shop.deploy()
    archive = tmp_path / "shop.tar"
    git(shop.project, "archive", "--output", str(archive), "HEAD")
    (tmp_path / "copy").mkdir()
    for name in git(shop.project, "ls-files").splitlines():
        (tmp_path / "copy" / name).write_bytes((shop.project / name).read_bytes())
    for source in (None, "HEAD", str(archive), str(tmp_path / "copy")):
        assert changes(shop, source) == [], source
    assert preview_deploy(shop.target, shop.project).current == release


def test_another_file_and_another_mode_are_changes(shop: Shop) -> None:
    """A byte, an x, an empty directory or a link that differs is a change; a time stamp is none."""
    release = shop.deploy()
    app = shop.project / "app.py"
    app.touch()
    assert changes(shop) == []
    app.chmod(0o755)
    assert changes(shop) == [f"files: they are not those of {release}"]
    app.chmod(0o644)
    app.write_text("print('hallo')\n")
    assert changes(shop) == [f"files: they are not those of {release}"]


def test_settings_variables_and_secrets_are_named_without_their_values(shop: Shop) -> None:
    """What differs is named, and no value of a variable or a secret is said; a variable that uses ours is the same."""
    shop.deploy()
    (shop.project / "app.secret").write_text("GREETING=good day\nMORE=1\n")
    (shop.project / "db.secret").write_text("word")
    assert changes(shop) == ["variable GREETING", "variable MORE", "secret db"]
    text = (shop.project / "gapless.toml").read_text()
    (shop.project / "gapless.toml").write_text(f"{text}[drain]\nlinger = 7\n")
    assert changes(shop)[1:] == ["setting drain.linger", "variable GREETING", "variable MORE", "secret db"]


def test_a_release_of_an_older_gapless_counts_as_another(shop: Shop) -> None:
    """Where nobody wrote down what a release was made of, a deploy is not taken for superfluous."""
    release = shop.deploy()
    shop.target.home.content(release).unlink()
    assert changes(shop) == [f"files: nobody wrote down what {release} was made of"]


def test_what_was_written_down_goes_with_its_release(shop: Shop) -> None:
    """A release that is removed leaves nothing of itself."""
    release = shop.deploy()
    shop.deploy()
    assert shop.target.store.remove(release)
    assert [path for path in shop.target.home.env.iterdir() if release in path.name] == []


def test_a_digest_sees_names_links_and_empty_directories(tmp_path: Path) -> None:
    """Two trees have one digest only where they are the same tree."""
    makers: list[Callable[[Path], object]] = [
        lambda path: path.write_text("b"),
        lambda path: path.with_name("b").write_text("b"),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("b"),
        lambda path: path.symlink_to("c"),
    ]
    seen = set()
    for number, make in enumerate(makers):
        tree = tmp_path / str(number)
        tree.mkdir()
        make(tree / "a")
        seen.add(content.digest(tree))
    assert len(seen) == len(makers)


def test_two_releases_of_one_revision_differ_by_name(shop: Shop) -> None:
    """What came from beside the source is named, never its value; a release's own name in a value is no difference."""
    first, same = shop.deploy(), shop.deploy()
    home = shop.target.home
    assert difference.between(home, first, same) == []
    (shop.project / "app.secret").write_text("GREETING=hush\nMORE=1\n")
    (shop.project / "db.secret").write_text("hush")
    other = shop.deploy()
    found = difference.between(home, same, other)
    assert found == ["variable GREETING", "variable MORE", "secret db"]
    configure(shop.project, "[release]\nkeep = 9\n")
    assert difference.between(home, other, shop.deploy()) == [
        *("files", "setting env_file", "setting release.keep"),
        *("variable GREETING", "variable MORE", "variable PLACE", "secret db"),
    ]
    home.content(first).unlink()  # as of a release that an older gapless made
    assert difference.between(home, first, same) is None
