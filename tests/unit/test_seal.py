"""Sealing: whatever a build left linked, open or allowed, nobody writes the release afterwards."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import tempfile
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release import seal as sealing
from gapless.release.seal import seal

ROOT = os.geteuid() == 0


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A release with a file, a program and a directory, each too open."""
    tree = tmp_path / "release"
    (tree / "inner").mkdir(parents=True)
    for name, mode in (("text", 0o666), ("inner/program", 0o4777), ("private", 0o600)):
        (tree / name).write_text(name)
        (tree / name).chmod(mode)
    (tree / "inner").chmod(0o2777)
    return tree


def modes(tree: Path) -> dict[str, int]:
    return {
        str(path.relative_to(tree)): stat.S_IMODE(path.lstat().st_mode)
        for path in (tree, *tree.rglob("*"))
        if not path.is_symlink()
    }


@pytest.mark.parametrize("owned", [pytest.param(True, marks=pytest.mark.skipif(not ROOT, reason="needs root")), False])
def test_modes_depend_on_the_owners_x_alone(tree: Path, owned: bool) -> None:
    """Invariants 9 and 13: no set-id bit, no w for others; for the one user of an embedded manager none at all."""
    seal(tree, owned=owned)
    file, folder = (0o644, 0o755) if owned else (0o444, 0o555)
    assert modes(tree) == {".": folder, "text": file, "private": file, "inner": folder, "inner/program": folder}


def test_a_file_with_a_second_name_gets_an_inode_of_its_own(tree: Path, tmp_path: Path) -> None:
    """Invariant 9: a cache hard-links into releases; its file stays as it was, and a write stays there."""
    cached = tmp_path / "cached"
    os.utime(tree / "text", ns=(1_000_000_001, 2_000_000_002))
    os.link(tree / "text", cached)
    seal(tree, owned=False)
    assert stat.S_IMODE(cached.stat().st_mode) == 0o666
    cached.write_text("changed")
    assert (tree / "text").read_text() == "text"
    assert (tree / "text").stat().st_mtime_ns == 2_000_000_002
    assert {path.name for path in tree.rglob("*")} == {"text", "private", "inner", "program"}


@pytest.mark.skipif(not ROOT, reason="needs root, to be somebody else")
def test_an_ordinary_user_seals_files_with_a_second_name() -> None:
    """Invariant 3: a deploy of his goes on where uv has hard-linked its cache; only root writes read-only things."""
    with tempfile.TemporaryDirectory() as folder:  # where he can go, as pytest's own are root's
        tree = Path(folder, "release")
        (tree / "inner").mkdir(parents=True)
        (tree / "inner/text").write_text("text")
        os.link(tree / "inner/text", Path(folder, "cached"))
        for path in (Path(folder), *Path(folder).rglob("*")):
            os.chown(path, 65534, 65534)
        if (child := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                seal(tree, owned=False)
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert modes(tree) == {".": 0o555, "inner": 0o555, "inner/text": 0o444}
        assert stat.S_IMODE(Path(folder, "cached").stat().st_mode) == 0o644


def test_a_file_that_is_open_for_writing_gets_an_inode_of_its_own(tree: Path) -> None:
    """Invariant 9: a descriptor that a build passed to somebody else writes on, into a file that nobody sees."""
    with (tree / "text").open("a") as passed_on:
        seal(tree, owned=False)
        passed_on.write(" and more")
    assert (tree / "text").read_text() == "text"


@pytest.mark.skipif(not ROOT, reason="needs root: for one user nobody else is at work in the tree")
def test_what_others_do_at_the_last_moment_is_sealed_too(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 9: a file that is added just before its directory is closed is not overlooked, nor a new writer."""
    settle, added, asked = sealing._settle, list[int](), list[int]()

    def add_first(descriptor: int, found: int, *, owned: bool) -> None:
        if stat.S_ISDIR(found):
            added.append(os.open("late", os.O_RDWR | os.O_CREAT, 0o666, dir_fd=descriptor))
        settle(descriptor, found, owned=owned)

    def ask(descriptor: int) -> bool:
        asked.append(stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o022)
        return False

    monkeypatch.setattr(sealing, "_settle", add_first)
    monkeypatch.setattr(sealing, "_may_be_written", ask)
    seal(tree, owned=True)
    for descriptor in added:
        os.close(descriptor)
    assert len(added) == 2
    assert modes(tree)["late"] == modes(tree)["inner/late"] == 0o644
    assert asked == [0] * 5


def test_no_link_is_followed(tree: Path, tmp_path: Path) -> None:
    """Invariant 9: what a link leads to keeps its mode and its owner."""
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_text("x")
    before = modes(outside)
    (tree / "link").symlink_to(outside / "file")
    (tree / "inner/link").symlink_to(outside / "folder")
    seal(tree, owned=False)
    assert modes(outside) == before


def test_a_pipe_is_refused_by_its_name(tree: Path) -> None:
    """Invariant 8: a release has files, directories and links; once the build removes the pipe, sealing goes on."""
    os.mkfifo(tree / "inner/pipe")
    with pytest.raises(GaplessError, match="inner/pipe: it is a pipe") as refused:
        seal(tree, owned=False)
    assert refused.value.hint == "let the build remove it at its end"
    (tree / "inner/pipe").unlink()
    seal(tree, owned=False)


# acl(5) as the kernel keeps it: a version, then tag, permissions and id of each entry; user 1 may do everything.
EVERYONE = 0xFFFFFFFF
ENTRIES = [(1, 6, EVERYONE), (2, 7, 1), (4, 4, EVERYONE), (0x10, 7, EVERYONE), (0x20, 4, EVERYONE)]
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in ENTRIES)


def test_an_access_list_is_removed(tree: Path) -> None:
    """Invariant 9: a build could let the app's user in by name, where the file system knows access lists."""
    with contextlib.suppress(OSError):  # without them there is nothing to remove, and sealing does not mind
        os.setxattr(tree / "text", "system.posix_acl_access", ACL)
    seal(tree, owned=False)
    assert not [name for name in os.listxattr(tree / "text") if "acl" in name]
