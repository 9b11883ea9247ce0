"""Time stamps of releases: equal bytes keep theirs, others get a later one, and nothing outside is touched or read."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gapless.release.compilation import compilation
from gapless.release.stamps import DEEPEST, settle
from tests.scripted import ScriptedManager
from tests.unit.release_kit import commit, configure, make_project
from tests.unit.release_shop import Shop

THEN, SOURCE, NOW = 1_500_000_000, 1_600_000_000, 1_700_000_000
NANO = 1_000_000_000


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return tmp_path / "old"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    return tmp_path / "new"


def put(tree: Path, name: str, text: str, stamp: float) -> Path:
    """A file with a time stamp."""
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (stamp, stamp))
    return path


def test_equal_bytes_keep_their_time_stamp(old: Path, new: Path) -> None:
    """Invariant 13: at the same path, whatever the mode, and to the nanosecond."""
    put(old, "a/b/same", "x" * 3_000_000, THEN + 0.25).chmod(0o755)
    same = put(new, "a/b/same", "x" * 3_000_000, SOURCE)
    put(old, "empty", "", THEN)
    empty = put(new, "empty", "", SOURCE)
    settle(new, old, NOW)
    assert same.stat().st_mtime_ns == THEN * NANO + NANO // 4
    assert empty.stat().st_mtime == THEN
    assert (old / "a/b/same").stat().st_mtime_ns == THEN * NANO + NANO // 4


def test_what_is_new_or_other_gets_the_moment(old: Path, new: Path) -> None:
    """Invariant 13: what has another size, other bytes, or was no file before is of now, in whole seconds."""
    put(old, "longer", "x", THEN)
    put(old, "shorter", "xx", THEN)
    put(old, "other", "x" * 2_000_000 + "a", THEN)
    put(old, "elsewhere/moved", "x", THEN)
    put(old, "file-now/was-directory", "x", THEN)
    (old / "link").symlink_to("longer")
    (old / "dir-link").symlink_to("elsewhere")
    put(old, "directory-now", "x", THEN)
    files = [
        put(new, name, text, SOURCE)
        for name, text in {
            "longer": "xx",
            "shorter": "x",
            "other": "x" * 2_000_000 + "b",
            "moved": "x",
            "file-now": "x",
            "link": "x",
            "dir-link/moved": "x",
            "directory-now/file": "x",
        }.items()
    ]
    settle(new, old, NOW + 0.75)
    assert {file.stat().st_mtime_ns for file in files} == {NOW * NANO}


@pytest.mark.parametrize(("was", "stamp"), [(NOW - 1, NOW), (NOW, NOW + 1), (NOW + 50, NOW + 51), (NOW + 0.5, NOW + 2)])
def test_a_change_is_later_than_what_it_changes(old: Path, new: Path, was: float, stamp: int) -> None:
    """Invariant 13: a change of the same size in the same second, or with the clock set back, is seen by validators."""
    put(old, "f", "one", was)
    file = put(new, "f", "two", SOURCE)
    settle(new, old, NOW)
    assert file.stat().st_mtime_ns == stamp * NANO


@pytest.mark.parametrize("gone", [False, True], ids=["none", "gone"])
def test_without_a_previous_release(old: Path, new: Path, gone: bool) -> None:
    """The first release, and one after a release that is gone, are of the moment."""
    file = put(new, "f", "x", SOURCE)
    settle(new, old.parent / "gone" if gone else None, NOW)
    assert file.stat().st_mtime == NOW
    with pytest.raises(FileNotFoundError):
        settle(old.parent / "gone", old, NOW)


def test_what_stays_as_it_is(old: Path, new: Path) -> None:
    """Links, directories, pipes, and what is in the directories of a build."""
    inside = [put(new, f"{name}/f", "x", SOURCE) for name in (".venv", "a/node_modules", ".git", "b/__pycache__")]
    (new / "link").symlink_to(put(new.parent, "victim", "x", SOURCE))
    os.utime(new / "link", (SOURCE, SOURCE), follow_symlinks=False)
    os.mkfifo(new / "pipe")
    os.mkfifo(old / "pipe")
    for path in (new / "pipe", new / "a", new):
        os.utime(path, (SOURCE, SOURCE))
    settle(new, old, NOW)
    for path in (*inside, new / "link", new / "pipe", new / "a", new, new.parent / "victim"):
        assert path.lstat().st_mtime == SOURCE, path


def test_nothing_outside_is_touched(old: Path, new: Path, tmp_path: Path) -> None:
    """Invariant 9: neither over a link in the place of a directory nor by another name of a file."""
    victim = put(tmp_path, "elsewhere/f", "x", SOURCE)
    (new / "directory").symlink_to(victim.parent)
    (new / "name").hardlink_to(victim)
    settle(new, old, NOW)
    assert victim.stat().st_mtime == SOURCE


def test_nothing_outside_is_compared(old: Path, new: Path, tmp_path: Path) -> None:
    """Invariant 9: a time stamp tells nobody what a file elsewhere holds."""
    secret = put(tmp_path, "secret/f", "x", THEN)
    (old / "directory").symlink_to(secret.parent)
    (old / "link").symlink_to(secret)
    (old / "name").hardlink_to(secret)
    files = [put(new, name, "x", SOURCE) for name in ("directory/f", "link", "name")]
    settle(new, old, NOW)
    assert {file.stat().st_mtime for file in files} == {NOW}


@pytest.mark.timeout(20)
def test_what_is_swapped_meanwhile(old: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 9: what became a link, a pipe or a directory once it was listed is neither followed nor waited for."""
    victim = put(tmp_path, "victim/f", "x", SOURCE)
    for name in ("link", "pipe", "directory", "gone", "folder/f"):
        put(new, name, "x", SOURCE)
        put(old, name, "x", THEN)
    real = os.scandir

    def swap(folder: int) -> object:
        with real(folder) as found:
            listed = list(found)
            for entry in listed:
                entry.is_dir(follow_symlinks=False)
        if (new / "gone").exists():
            for name in ("link", "pipe", "directory", "gone"):
                (new / name).unlink()
            (new / "link").symlink_to(victim)
            os.mkfifo(new / "pipe")
            (new / "directory").mkdir()
            (new / "folder").rename(tmp_path / "moved")
            (new / "folder").symlink_to(victim.parent)
        return Listed(listed)

    monkeypatch.setattr(os, "scandir", swap)
    settle(new, old, NOW)
    assert victim.stat().st_mtime == SOURCE
    assert (tmp_path / "moved/f").stat().st_mtime == SOURCE


class Listed(list[os.DirEntry[str]]):
    """What scandir gives: to be closed by who has it."""

    def __enter__(self) -> Listed:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_a_deep_tree(old: Path, new: Path) -> None:
    """A tree that is nested deeper than any path can name holds nobody up."""
    names = ["d"] * 3000
    for tree in (old, new):
        folder = os.open(tree, os.O_RDONLY)
        for depth, name in enumerate(names):
            if depth in {DEEPEST, DEEPEST + 1}:
                os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
                os.utime("f", (THEN, THEN) if tree is old else (SOURCE, SOURCE), dir_fd=folder)
            os.mkdir(name, dir_fd=folder)
            folder, outer = os.open(name, os.O_RDONLY, dir_fd=folder), folder
            os.close(outer)
        os.close(folder)
    began = time.perf_counter()
    settle(new, old, NOW)
    assert time.perf_counter() - began < 5
    deepest = new.joinpath(*names[:DEEPEST])
    assert (deepest / "f").stat().st_mtime == THEN
    assert (deepest / "d/f").stat().st_mtime == SOURCE
    for tree in (old, new):
        subprocess.run(["rm", "-r", str(tree)], check=True)  # pytest would take its time


def test_it_takes_no_time(old: Path, new: Path) -> None:
    """Fifty files cost a few milliseconds: it is a part of every deploy."""
    for number in range(50):
        put(old, f"d{number % 7}/f{number}", str(number) * 5000, THEN)
        put(new, f"d{number % 7}/f{number}", str(number) * 5000, SOURCE)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        settle(new, old, NOW)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.02


@pytest.mark.parametrize("source", [None, "HEAD"], ids=["directory", "revision"])
def test_a_deploy_keeps_the_time_stamps_of_what_did_not_change(tmp_path: Path, source: str | None) -> None:
    """Invariant 13: from one release to the next, what did not change is as old as it was, and the rest is later."""
    project = make_project(tmp_path / "shop")
    shop = Shop(project, ScriptedManager(project / ".gapless"))

    def stamps(release: str) -> dict[str, float]:
        files = [path for path in shop.target.store.path(release).iterdir() if path.is_file()]
        return {path.name: path.stat().st_mtime for path in files}

    first = stamps(shop.deploy(source=source))
    assert set(first.values()) == {shop.time}
    os.utime(project / "app.py", (SOURCE, SOURCE))  # git checkout does that
    assert stamps(shop.deploy(source=source)) == first
    configure(project, "[drain]\n")
    (project / "new").touch()
    commit(project)
    second = stamps(shop.deploy(source=source))
    assert second == first | {"gapless.toml": shop.time, "new": shop.time}


def test_what_a_build_compiled_stays_good(old: Path, new: Path) -> None:
    """Python takes no compiled file of a source with another time stamp, and can write none beside a sealed one."""
    put(old, "venv/lib/module.py", "ONE = 1\n", THEN)
    module = put(new, "venv/lib/module.py", "ONE = 1\n", SOURCE)
    put(old, "venv/lib/page.css", "one", THEN)
    page = put(new, "venv/lib/page.css", "one", SOURCE)
    other = put(new, "elsewhere/module.py", "ONE = 1\n", SOURCE)
    py_compile.compile(str(module), doraise=True)
    settle(new, old, NOW)
    assert [path.stat().st_mtime for path in (module, page, other)] == [SOURCE, THEN, NOW]


@pytest.mark.parametrize(("there", "used"), [((".venv", "venv"), ".venv"), (("env",), "env"), ((), "")])
def test_a_release_is_compiled_by_its_own_interpreter(new: Path, there: tuple[str, ...], used: str) -> None:
    """Whatever its virtual environment is called: what another one compiles, that one's starts do not take."""
    put(new, "app.py", "", NOW)
    for one in there:
        put(new, f"{one}/pyvenv.cfg", "", NOW)
        put(new, f"{one}/bin/python", "", NOW)
    assert compilation(new)[0] == (str(new / used / "bin/python") if used else sys.executable)
