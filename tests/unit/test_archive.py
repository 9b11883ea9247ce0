"""Archives from strangers: nothing lands, points or reaches outside, on any Python 3.11."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release import archive as unpacking
from gapless.release import budget, sources
from tests.unit.release_kit import make_project


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.size = 4 if kind == tarfile.REGTYPE else 0
    return info


def link(name: str, target: str) -> tarfile.TarInfo:
    return member(name, tarfile.SYMTYPE, target)


def zero_byte() -> tarfile.TarInfo:
    info = link("f", "a")
    info.pax_headers = {"linkpath": "a\0b"}
    return info


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Path]:
    """Makes an archive of the members, installs it the way a deploy does and returns the release."""

    def do(*members: tarfile.TarInfo) -> Path:
        path = tmp_path / "in.tgz"
        with tarfile.open(path, "w:gz") as archive:
            for info in (member("gapless.toml"), *members):
                archive.addfile(info, io.BytesIO(b"evil" if info.size else b""))
        release = tmp_path / "releases" / "r1"
        release.mkdir(parents=True)
        (tmp_path / "victim").write_text("safe")
        sources.find(make_project(tmp_path / "shop"), str(path)).install(release)
        return release

    return do


BAD = {
    "parent": [member("../victim")],
    "parent inside": [member("a/../../victim")],
    "absolute": [member("/tmp/gapless-victim")],  # noqa: S108 - it must not be written
    "absolute link": [link("etc", "/etc")],
    "link out": [link("a/out", "../../../victim")],
    "link out over links": [member("a/b/f"), link("up", "a/b"), link("up2", "up/../../.."), member("z")],
    "link out over a link that comes later": [link("m", "x/y/root/.."), link("x/y/root", "../..")],
    "written through a link": [link("out", "../.."), member("out/victim")],
    "written through a link to a file": [link("out", "../../victim"), member("out")],
    "directory over a link": [link("out", "../.."), member("out", tarfile.DIRTYPE)],
    "hard link out": [member("f", tarfile.LNKTYPE, "../../victim")],
    "hard link to an absolute path": [member("f", tarfile.LNKTYPE, "/etc/passwd")],
    "hard link over a link": [link("out", "../.."), member("f", tarfile.LNKTYPE, "out/victim")],
    "hard link to a link": [link("out", "../../victim"), member("f", tarfile.LNKTYPE, "out")],
    "device": [member("null", tarfile.CHRTYPE)],
    "disk": [member("disk", tarfile.BLKTYPE)],
    "pipe": [member("pipe", tarfile.FIFOTYPE)],
    "zero byte": [zero_byte()],
    "file as directory": [member("f"), member("f/g")],
    "directory as file": [member("d", tarfile.DIRTYPE), member("d")],
}


@pytest.mark.parametrize("case", [case for case in BAD if case != "written through a link to a file"])
def test_what_is_refused(case: str, unpack: Callable[..., Path], tmp_path: Path) -> None:
    """Invariant 8: an unsafe member is named, and nothing outside the release has changed."""
    with pytest.raises(GaplessError, match=r"cannot unpack .*in\.tgz: its (member|link) `"):
        unpack(*BAD[case])
    assert (tmp_path / "victim").read_text() == "safe"
    assert not Path("/tmp/gapless-victim").exists()  # noqa: S108


def test_a_file_replaces_a_link_and_not_what_it_leads_to(unpack: Callable[..., Path], tmp_path: Path) -> None:
    """A file that comes after a link of its name takes its place."""
    release = unpack(*BAD["written through a link to a file"])
    assert (release / "out").read_text() == "evil"
    assert (tmp_path / "victim").read_text() == "safe"


def test_what_is_kept(unpack: Callable[..., Path]) -> None:
    """Links within the release, hard links, modes and later versions arrive; set-uid and others' write do not."""
    release = unpack(
        member("./bin/run", mode=0o6777),
        link("bin/link", "../gapless.toml"),
        link("dangling", "not-there"),
        link("loop", "loop"),
        member("hard", tarfile.LNKTYPE, "bin/run"),
        member("bin/run", mode=0o755),
        member("plain", mode=0o666),
        member(".", tarfile.DIRTYPE),
    )
    assert (release / "bin/run").stat().st_mode & 0o7777 == 0o755
    assert (release / "hard").stat().st_mode & 0o7777 == 0o755
    assert (release / "hard").stat().st_nlink == 1
    assert (release / "plain").stat().st_mode & 0o7777 == 0o644
    assert (release / "bin/link").read_text() == "evil"
    assert os.path.lexists(release / "dangling")


def test_a_bomb_is_bounded(unpack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that grows beyond the bound is refused before it fills the disk."""
    monkeypatch.setattr(budget, "MAX_BYTES", 10)
    with pytest.raises(GaplessError, match="holds more than"):
        unpack(member("one"), member("two"), member("three"))


def test_a_bomb_of_directories_is_bounded(unpack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The directories that a member needs count as it does: few members may be below many of them."""
    monkeypatch.setattr(budget, "MAX_MEMBERS", 300)
    deep = [member("/".join([f"d{number}", *["x"] * 150, "f"])) for number in range(2)]
    with pytest.raises(GaplessError, match="more than 300 files and directories"):
        unpack(*deep)


def test_many_members_below_many_directories(tmp_path: Path) -> None:
    """Each directory is looked at once: what is below 200 of them takes no longer for that."""
    path = tmp_path / "in.tar"
    deep = "/".join(["x"] * 199)
    with tarfile.open(path, "w") as archive:
        archive.addfile(member("gapless.toml"), io.BytesIO(b"evil"))
        for number in range(5_000):
            info = member(f"{deep}/{number}")
            info.size = 0
            archive.addfile(info)
    release = tmp_path / "r1"
    release.mkdir()
    looked = 0

    def look(self: Path) -> bool:
        nonlocal looked
        looked += 1
        return stat.S_ISLNK(self.lstat().st_mode) if os.path.lexists(self) else False

    with pytest.MonkeyPatch.context() as patch, unpacking.open_archive(path) as archive:
        patch.setattr(Path, "is_symlink", look)
        unpacking.unpack(archive, release, "it")
    assert len([*(release / deep).iterdir()]) == 5_000
    assert looked < 12_000


def test_a_bomb_of_links_is_bounded(unpack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name of a file counts with what it holds: it becomes a file of its own."""
    monkeypatch.setattr(budget, "MAX_BYTES", 15)
    with pytest.raises(GaplessError, match="holds more than"):
        unpack(member("file"), *(member(name, tarfile.LNKTYPE, "file") for name in ("one", "two")))


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_truncated_archive(tmp_path: Path, keep: float) -> None:
    """Invariant 8: a download that broke off is said to be damaged."""
    path = tmp_path / "in.tgz"
    with tarfile.open(path, "w:gz") as archive:
        info = member("gapless.toml")
        info.size = 100_000
        archive.addfile(info, io.BytesIO(os.urandom(info.size)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(GaplessError, match="it is damaged"):
        sources.find(make_project(tmp_path / "shop"), str(path)).install(target)


def test_strip_of_a_directory_that_holds_its_own_name(tmp_path: Path) -> None:
    """shop/shop/ becomes shop/: only the outer directory goes."""
    (tmp_path / "shop" / "shop").mkdir(parents=True)
    (tmp_path / "shop" / "gapless.toml").write_text("")
    unpacking.strip(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gapless.toml", "shop"]
