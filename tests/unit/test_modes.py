"""Modes in a release: the same from every source and under every umask, and nothing swapped meanwhile is followed."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from gapless.cli import VERBS, cli
from gapless.errors import GaplessError
from gapless.release import git, sources
from gapless.release.store import Store
from gapless.switch.embedded.home import EmbeddedHome
from tests.unit.release_kit import commit, make_project

MODES = {"setuid": 0o4755, "setgid": 0o2775, "sticky": 0o1666, "private": 0o600, "tool": 0o700, "for-group": 0o674}
EXECUTABLE = {"setuid", "setgid", "tool"}
THEN = 1_500_000_000


@contextlib.contextmanager
def umask(value: int) -> Iterator[None]:
    """The process's umask is `value` inside the block."""
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with every mode, also on gapless.toml, in a directory of its own."""
    project = make_project(tmp_path / "shop")
    (project / "deep" / "er").mkdir(parents=True)
    for name, mode in MODES.items():
        file = project / "deep" / "er" / name
        file.write_text(name)
        file.chmod(mode)
        os.utime(file, (THEN, THEN))
        with contextlib.suppress(OSError):  # as much as set-uid; only root may, and not on every file system
            os.setxattr(file, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    (project / "link").symlink_to("deep/er/tool")
    os.utime(project / "link", (THEN, THEN), follow_symlinks=False)
    (project / "deep").chmod(0o2777)
    (project / "gapless.toml").chmod(0o4600)
    return project


def as_git_sees_it(project: Path) -> sources.Source:
    return sources.find(project)


def plain_directory(project: Path) -> sources.Source:
    (project / ".git").rename(project.parent / "git")
    return sources.find(project)


def archive(project: Path) -> sources.Source:
    packed = project.parent / "shop.tar"
    with tarfile.open(packed, "w") as tar:
        for name in ("deep", "link", "app.py", ".gitignore"):
            tar.add(project / name, name)
    return sources.find(project, str(packed))


def revision(project: Path) -> sources.Source:
    return sources.find(project, commit(project))


def without_its_own_settings(project: Path) -> sources.Source:
    return sources.find(project, str(project / "deep"))


SOURCES = [as_git_sees_it, plain_directory, archive, revision, without_its_own_settings]


@pytest.mark.parametrize("mask", [0, 0o077], ids=["0", "077"])
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_modes(
    project: Path, tmp_path: Path, source: Callable[[Path], sources.Source], mask: int
) -> None:
    """A file is 0755 where its owner may run it, else 0644, and a directory 0755: no set-id bit, no capability."""
    found = source(project)
    store = Store(tmp_path / "home")

    def fill(directory: Path) -> None:
        found.install(directory)
        assert directory.stat().st_mode & 0o7777 == 0o700  # others must not reach what is not complete

    with umask(mask):
        release = store.add("r1", fill)
    modes = {
        str(path.relative_to(release)): path.stat().st_mode & 0o7777
        for path in (release, *release.rglob("*"))
        if not path.is_symlink()
    }
    files = {path: mode for path, mode in modes.items() if (release / path).is_file()}
    assert {path: mode for path, mode in modes.items() if path not in files} == dict.fromkeys(
        modes.keys() - files, 0o755
    )
    assert files == {path: 0o755 if Path(path).name in EXECUTABLE else 0o644 for path in files}
    assert "gapless.toml" in files
    assert {Path(path).name for path in files} >= MODES.keys()
    assert not [path for path in files if "security.capability" in os.listxattr(release / path)]


def test_time_stamps_are_kept(project: Path, tmp_path: Path) -> None:
    """What did not change has the time stamp of before, also a link."""
    out = tmp_path / "out"
    out.mkdir()
    sources.find(project).install(out)
    assert {(out / "deep/er" / name).stat().st_mtime for name in MODES} == {THEN}
    assert (out / "link").lstat().st_mtime == THEN


def to_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def to_directory(path: Path) -> None:
    path.mkdir()


def to_device(path: Path) -> None:
    try:
        os.mknod(path, 0o020666, os.makedev(1, 5))  # /dev/zero, which has no end
    except PermissionError:
        path.symlink_to("/dev/zero")  # only root makes devices


SWAPS = [to_link, os.mkfifo, to_device, to_directory]


@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("name", ["app.py", "deep/er/tool", "gapless.toml"])
@pytest.mark.timeout(20)
def test_a_file_that_is_swapped_before_it_is_copied(
    project: Path, tmp_path: Path, name: str, swap: Callable[[Path], None]
) -> None:
    """What became a link, a pipe or a device after it was listed is refused: not followed, not waited for."""
    named = str(project / "deep") if name == "gapless.toml" else None
    found = sources.find(project, named)
    (project / name).unlink()
    swap(project / name)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(GaplessError, match=r"cannot copy .*: it is not, or no longer"):
        found.install(out)
    assert not (out / name).exists()


@pytest.mark.parametrize("swap", [os.mkfifo, to_device])
@pytest.mark.timeout(20)
def test_a_file_that_is_swapped_before_it_is_read(
    project: Path, monkeypatch: pytest.MonkeyPatch, swap: Callable[[Path], None]
) -> None:
    """What goes into the release's name is opened with the same care."""
    listed = git.files(project)

    def files(_directory: Path) -> tuple[list[str], bool]:
        (project / "app.py").unlink()
        swap(project / "app.py")
        return listed[0], True

    monkeypatch.setattr(git, "files", files)
    if swap is to_device and os.geteuid() != 0:
        assert sources.find(project)  # a link is a link
        return
    with pytest.raises(GaplessError, match=r"cannot copy .*app\.py: it is not, or no longer"):
        sources.find(project)


def test_a_directory_that_is_swapped_for_a_link(project: Path, tmp_path: Path) -> None:
    """A link in the place of a directory leads neither to files elsewhere nor out of the release."""
    found = sources.find(project)
    elsewhere = tmp_path / "elsewhere"
    (project / "deep" / "er").rename(elsewhere)
    (project / "deep" / "er").symlink_to(elsewhere)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(GaplessError, match=r"cannot copy .*/deep/er/.*: it is not, or no longer"):
        found.install(out)


def test_a_link_in_the_release_is_not_written_through(project: Path, tmp_path: Path) -> None:
    """What came as a link is no directory for the files after it, whatever it was in between."""
    victim = tmp_path / "victim"
    victim.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "deep").symlink_to(victim)
    with pytest.raises(GaplessError, match="it is not, or no longer"):
        sources.find(project).install(out)
    assert not list(victim.iterdir())


def test_the_name_does_not_depend_on_what_is_not_kept(project: Path) -> None:
    """Modes of a work tree that a release does not keep do not change its name, the x bit does."""
    (project / "app.py").write_text("1")
    first = sources.find(project).short
    (project / "app.py").chmod(0o600)
    assert sources.find(project).short == first
    (project / "app.py").chmod(0o700)
    assert sources.find(project).short != first


def test_a_pipe_is_no_archive(project: Path, tmp_path: Path) -> None:
    """A pipe in the place of an archive is refused, not waited for."""
    os.mkfifo(tmp_path / "in.tgz")
    with pytest.raises(GaplessError, match="neither a directory, nor an archive file"):
        sources.find(project, str(tmp_path / "in.tgz"))


def test_logs_and_data_stay_private(tmp_path: Path) -> None:
    """Under any umask only their owner reads logs and reports, and others do not enter the data."""
    with umask(0):
        Store(tmp_path / "one").prepare()
        EmbeddedHome(tmp_path / "two").make()
    modes = {path.name: path.stat().st_mode & 0o777 for home in ("one", "two") for path in (tmp_path / home).iterdir()}
    assert modes == {"releases": 0o777, "shared": 0o750, "log": 0o700, "reports": 0o700, "run": 0o700}


@pytest.mark.parametrize("verb", VERBS)
def test_the_umask_of_a_verb(verb: str) -> None:
    """What everybody must be able to read is made under 022; who hands a umask on keeps the one of whoever calls."""
    with umask(0o077):
        cli.resolve_command(click.Context(cli), [verb])
        found = os.umask(0o077)
    assert found == (
        0o022
        if verb in {"up", "deploy", "rollback", "confirm", "lock", "pause", "resume", "prune", "down", "database"}
        else 0o077
    )
