"""Public files of releases in one tree; everything real but the manager (tests/scripted.py)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gapless.config import parse
from gapless.errors import GaplessError
from gapless.release import assets
from gapless.release.assets import Assets
from gapless.release.deploy import prune, rollback
from gapless.switch.manager import Readiness
from tests.scripted import ScriptedManager
from tests.unit.release_kit import commit, configure, deploy_killed, make_project
from tests.unit.release_shop import Shop

DAY = 86400.0
PUBLIC = '[release]\nkeep = 2\n[assets]\n"/static" = "static"\n'


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A project with public files."""
    project = make_project(tmp_path / "shop")
    configure(project, PUBLIC)
    return Shop(project, ScriptedManager(project / ".gapless"))


def write(shop: Shop, **files: str) -> None:
    """The public files of the next release; a double underscore in a name is a slash, a single one a dot."""
    static = shop.project / "static"
    for old in static.rglob("*"):
        if not old.is_dir():
            old.unlink()
    for name, text in files.items():
        path = static / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    commit(shop.project)


def tree(shop: Shop) -> dict[str, str]:
    """What visitors can get, by its path in URLs."""
    public = shop.target.home.public
    return {f"/{one.relative_to(public)}": one.read_text() for one in public.rglob("*") if one.is_file()}


def test_files_are_there_from_before_the_first_page_until_long_after(shop: Shop) -> None:
    """A candidate's are there when it starts, those of releases that are kept or were current in the last week stay."""
    write(shop, a_css="1")
    shop.deploy()
    write(shop, b_css="2")
    seen: list[dict[str, str]] = []
    shop.manager.hooks["before start"] = lambda: seen.append(tree(shop))
    shop.deploy()
    assert seen == [{"/static/a.css": "1", "/static/b.css": "2"}]
    for name in ("c_css", "d_css"):
        write(shop, **{name: "3"})
        shop.deploy()
    assert {*tree(shop)} == {f"/static/{one}.css" for one in "abcd"}
    shop.time += 8 * DAY
    prune(shop.target, 2)
    assert {*tree(shop)} == {"/static/c.css", "/static/d.css"}


def test_age_counts_from_when_a_release_was_the_current_one(shop: Shop) -> None:
    """However long it served before that, and also where its directory went at once."""
    write(shop, a_css="1")
    shop.deploy()
    shop.time += 30 * DAY
    for name in ("b_css", "c_css", "d_css"):
        write(shop, **{name: "x"})
        shop.deploy()
    assert "/static/a.css" in tree(shop)
    shop.time += 6 * DAY
    prune(shop.target, 2)
    assert "/static/a.css" in tree(shop)
    shop.time += DAY
    prune(shop.target, 2)
    assert "/static/a.css" not in tree(shop)


def test_the_current_releases_own_files_win(shop: Shop) -> None:
    """Of one name with other bytes, what serves counts: until the commit, after it, and after a rollback."""
    write(shop, manifest_json="1")
    shop.deploy()
    write(shop, manifest_json="2")
    seen: list[dict[str, str]] = []
    shop.manager.hooks["before point"] = lambda: seen.append(tree(shop))
    shop.deploy()
    shop.manager.hooks.clear()
    assert seen == [{"/static/manifest.json": "1"}]
    assert tree(shop) == {"/static/manifest.json": "2"}
    rollback(shop.target)
    assert tree(shop) == {"/static/manifest.json": "1"}


def test_a_file_in_the_place_of_a_directory(shop: Shop) -> None:
    """The same for names that cannot be beside each other."""
    write(shop, a="file")
    shop.deploy()
    write(shop, a__b="inside")
    seen: list[dict[str, str]] = []
    shop.manager.hooks["before point"] = lambda: seen.append(tree(shop))
    shop.deploy()
    assert tree(shop) == {"/static/a/b": "inside"}
    rollback(shop.target)
    assert tree(shop) == {"/static/a": "file"}
    assert seen == [{"/static/a": "file"}, {"/static/a/b": "inside"}]


def test_a_file_keeps_its_time_stamp_and_is_readable(shop: Shop) -> None:
    """Invariant 13: what browsers have stays valid; the mode is 0644 whatever the release's is."""
    write(shop, a_css="1", b_css="1")
    (shop.project / "static/a.css").chmod(0o700)
    commit(shop.project)
    first = shop.deploy()
    found = shop.target.home.public / "static/a.css"
    before = found.stat()
    assert before.st_mode & 0o777 == 0o644
    assert before.st_mtime_ns == (shop.target.store.path(first) / "static/a.css").stat().st_mtime_ns
    write(shop, a_css="1", b_css="2")
    shop.deploy()
    assert (found.stat().st_mtime_ns, found.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_release_that_failed_leaves_what_serves_alone(shop: Shop) -> None:
    """Invariant 3: its files take nobody's place, and go with it."""
    write(shop, manifest_json="1")
    shop.deploy()
    write(shop, manifest_json="2", bad_css="2")
    shop.manager.readiness = Readiness.EXITED
    shop.fail("it said no")
    assert tree(shop)["/static/manifest.json"] == "1"
    shop.manager.readiness = Readiness.READY
    prune(shop.target, 2)
    assert tree(shop) == {"/static/manifest.json": "1"}


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        ('"/static" = "nowhere"', "nowhere is not there"),
        ('"/static" = "link"', "link is a link"),
        ('"/static" = "link/ssl"', "link is a link"),
    ],
)
def test_a_directory_that_cannot_be_published(shop: Shop, paths: str, says: str) -> None:
    """Invariants 3 and 9: a build's link to /etc opens nothing, and a build that made no files is noticed in time."""
    write(shop, a_css="1")
    first = shop.deploy()
    configure(shop.project, f'[assets]\n{paths}\n[build]\nrun = "ln -s /etc link"\n')
    error = shop.fail(says)
    assert "[assets]" in error.hint
    assert shop.manager.current() == first
    assert tree(shop) == {"/static/a.css": "1"}


def test_links_and_hidden_files_are_left_out(shop: Shop) -> None:
    """Invariant 9: no link in a public directory is followed, to a file or a directory; a warning names them."""
    write(shop, a_css="1")
    (shop.project / "static/.env").write_text("secret")
    build = '[build]\nrun = "ln -s /etc/passwd static/p; ln -s /etc static/etc"\n'
    configure(shop.project, PUBLIC + build)
    release = shop.deploy()
    assert tree(shop) == {"/static/a.css": "1"}
    assert shop.observer.warnings == [
        f"'static/etc', 'static/p' in {release}: links are not published ([assets])",
    ]


def test_a_killed_deployer(shop: Shop) -> None:
    """Invariant 5: dead between commit and the rest, the next command lets the right files count."""
    write(shop, manifest_json="1")
    shop.deploy()
    write(shop, manifest_json="2")
    deploy_killed(shop.project, at="after point")
    (shop.target.home.assets / ".new").write_text("half")
    assert tree(shop)["/static/manifest.json"] == "1"
    prune(shop.target, 2)
    assert tree(shop) == {"/static/manifest.json": "2"}


def test_what_somebody_removed_comes_back(shop: Shop) -> None:
    """Invariant 11: `gapless prune` puts the current release's files back; lost lists lose no file of it either."""
    write(shop, a_css="1")
    release = shop.deploy()
    (shop.target.home.public / "static/a.css").write_text("broken")
    assert Assets(shop.target.home).missing(release) == ["static/a.css"]
    prune(shop.target, 2)
    assert tree(shop) == {"/static/a.css": "1"}


def test_a_release_from_before(shop: Shop) -> None:
    """The first release with [assets] also publishes what the one before it has there."""
    configure(shop.project, "")
    write(shop, a_css="1")
    shop.deploy()
    assert tree(shop) == {}
    configure(shop.project, PUBLIC)
    write(shop, b_css="2")
    shop.deploy()
    assert {*tree(shop)} == {"/static/a.css", "/static/b.css"}


def test_what_is_gone_has_a_budget(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first; releases that are there keep all they have."""
    monkeypatch.setattr(assets, "LARGEST", 250)
    for number in range(6):
        write(shop, **{f"f{number}_css": f"{number}" * 100})
        shop.deploy()
    assert {*tree(shop)} == {f"/static/f{number}.css" for number in (2, 3, 4, 5)}


def test_a_name_that_is_no_text(shop: Shop) -> None:
    """A file's name is bytes."""
    write(shop, a_css="1")
    (shop.project / os.fsdecode(b"static/\xff.css")).write_text("x")
    commit(shop.project)
    shop.deploy()
    assert (shop.target.home.public / os.fsdecode(b"static/\xff.css")).read_text() == "x"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('"static" = "static"', "unknown key `assets.static`"),
        ('"/" = "public"', "'/' is not where files can be in a URL"),
        ('"/a/../b" = "static"', "'/a/../b' is not where"),
        ('"/a b" = "static"', "'/a b' is not where"),
        ('"/static" = "."', "'.' is not a directory inside a release"),
        ('"/static" = "../x"', "'../x' is not a directory"),
        ('"/static" = "/etc"', "'/etc' is not a directory"),
        ('"/a" = "a"\n"/a/b" = "b"', "'/a/b' is in '/a'"),
        ('age = "soon"', "not a span of time"),
    ],
)
def test_settings_that_are_refused(table: str, says: str) -> None:
    """Invariant 8: what cannot be served is named before anything is made."""
    with pytest.raises(GaplessError) as refused:
        parse(f'name = "shop"\ncommand = "x"\n[assets]\n{table}\n', Path("gapless.toml"))
    assert says in str(refused.value) + refused.value.hint
    assert refused.value.status == 2
