"""The release store: complete releases or nothing, on real file systems."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release.store import Store, made

NOON = 1795435805.0  # 2026-11-23 12:10:05 UTC
ADD = """
import sys
from pathlib import Path
from gapless.errors import GaplessError
from gapless.release.store import Store, made
store = Store(Path(sys.argv[1]))
try:
    store.add("r1", lambda directory: (directory / "big").write_bytes(b"x" * 1_000_000))
except GaplessError as error:
    print(f"{error}|{error.hint}|{store.names()}|{store.clean()}")
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def fill(directory: Path) -> None:
    (directory / "app.py").write_text("x")


def in_tmpfs(mount: Path, *options: str) -> str:
    """What ADD prints for a home on a tmpfs of its own, in a mount namespace of its own."""
    mount.mkdir()
    script = f'mount -t tmpfs -o size=64k tmpfs "{mount}" && mkdir "{mount}/home" && '
    script += "".join(f'mount -o {option} "{mount}" && ' for option in options)
    script += f'exec "$0" -c "$1" "{mount}/home"'
    argv = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, sys.executable, ADD]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"this system does not let the test mount a tmpfs: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_names_sort_by_time_and_are_unique(store: Store) -> None:
    """Names sort in the order of deployment, and none is of the future, however many are made within a second."""
    names = []
    for count in range(12):
        names.append(store.new_name(NOON + count / 12, f"{12 - count:07x}"))
        store.add(names[-1], fill)
    names.append(store.new_name(NOON + 1, "0000000"))
    store.add(names[-1], fill)
    assert names[:2] == ["20261123T121005Z-000000c", "20261123T121005Z1-000000b"]
    assert names[-2:] == ["20261123T121005Z92-0000001", "20261123T121006Z-0000000"]
    assert store.names() == names
    assert {made(name) for name in names[:-1]} == {NOON // 1}


def test_a_clock_that_was_set_back_makes_no_release_older(store: Store) -> None:
    """The next name sorts after the newest one, and is of its second."""
    store.add(first := store.new_name(NOON, "fffffff"), fill)
    second = store.new_name(NOON - 3600, "0000000")
    assert (second, made(second)) == ("20261123T121005Z1-0000000", made(first))
    assert made("20261123T121005Zx-0000000") is None


def test_an_empty_home_has_no_releases_and_stays_empty(store: Store) -> None:
    """Asking changes nothing on disk."""
    assert store.names() == []
    assert not store.exists("r1")
    assert not store.home.exists()


def test_add_shows_only_complete_releases(store: Store) -> None:
    """While it is filled a release is invisible; then it is there, and so is the shared directory."""

    def look(directory: Path) -> None:
        fill(directory)
        assert store.names() == []

    path = store.add("r1", look)
    assert (path / "app.py").read_text() == "x"
    assert store.names() == ["r1"]
    assert store.shared.is_dir()


def test_a_failed_add_leaves_nothing(store: Store) -> None:
    """Invariant 8: whatever stops the filling, no half release stays, visible or not."""
    with pytest.raises(KeyboardInterrupt):
        store.add("r1", interrupted)
    assert os.listdir(store.releases) == []  # noqa: PTH208 - the hidden ones are what matters


def interrupted(directory: Path) -> None:
    fill(directory)
    raise KeyboardInterrupt


def test_clean_removes_what_a_kill_left(store: Store) -> None:
    """Invariant 5: half-added and half-removed releases go, complete ones stay."""
    store.add("r1", fill)
    for name in (".incoming-r2", ".removing-r0"):
        (store.releases / name / "deep").mkdir(parents=True)
    assert store.clean() == [".incoming-r2", ".removing-r0"]
    assert store.clean() == []
    assert [path.name for path in store.releases.iterdir()] == ["r1"]


def test_remove_takes_the_log_and_can_be_repeated(store: Store) -> None:
    """Invariant 7: a release goes with its log, and removing it again is no error."""
    store.add("r1", fill)
    store.log("r1").write_text("hello\n")
    store.remove("r1")
    store.remove("r1")
    assert store.names() == []
    assert not store.log("r1").exists()


def test_remove_copes_with_read_only_directories_and_spares_what_links_lead_to(store: Store) -> None:
    """A read-only directory in a release does not stop its removal, and a link's target is not touched."""
    outside = store.home.parent / "outside"
    outside.mkdir(mode=0o500)

    def make(directory: Path) -> None:
        (directory / "cache").mkdir()
        (directory / "cache" / "file").write_text("x")
        (directory / "cache").chmod(0o500)
        (directory / "link").symlink_to(outside)

    store.add("r1", make)
    store.remove("r1")
    assert store.names() == []
    assert outside.stat().st_mode & 0o777 == 0o500


def test_disk_full(tmp_path: Path) -> None:
    """Invariant 8: a full disk is named with the release and the file, and nothing half-made stays."""
    said, hint, names, left = in_tmpfs(tmp_path / "full").split("|")
    assert said.startswith("cannot add release r1: No space left on device")
    assert "df -h" in hint
    assert (names, left) == ("[]", "[]")


def test_read_only_disk(tmp_path: Path) -> None:
    """Invariant 8: a read-only file system is said to be one, even to root."""
    said, hint, names, _left = in_tmpfs(tmp_path / "read-only", "remount,bind,ro").split("|")
    assert said.startswith("cannot prepare")
    assert "Read-only file system" in said
    assert "remount" in hint
    assert names == "[]"


def test_a_tree_that_is_nested_too_deeply_for_python(store: Store) -> None:
    """Invariant 5: refused, and removed all the same: left there, it would end each later command."""

    def nest(directory: Path, depth: int = 1500) -> None:
        folder = os.open(directory, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir("d", dir_fd=folder)
            inner = os.open("d", os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = inner
        os.close(folder)

    def walk(directory: Path) -> None:
        nest(directory)
        raise RecursionError

    with pytest.raises(GaplessError, match="its directories are nested too deeply"):
        store.add("r1", walk)
    assert list(store.releases.iterdir()) == []
    (store.releases / ".removing-r2").mkdir()
    nest(store.releases / ".removing-r2")
    assert store.clean() == [".removing-r2"]
    assert list(store.releases.iterdir()) == []
