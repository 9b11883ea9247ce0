"""A release is the same tree, whatever way it came.

Of directories those come along that have something in them; from where git does not say what is part of the project,
plain directories and archives, the empty ones come, too.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scripted import ScriptedManager
from tests.unit.release_kit import commit, git, make_project
from tests.unit.release_shop import Shop

EXECUTABLE = {"bin/tool": 0o755, "bin/setuid": 0o4755, "bin/mine": 0o700}
PLAIN = {"secret": 0o600, "for group": 0o640, "open": 0o666, "setgid": 0o2644, "closed/deep/er": 0o400, "ä\n": 0o644}
EMPTY = {"empty", "closed/empty"}


@pytest.fixture(params=[0o022, 0o077], ids=["022", "077"], autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Who deploys, and who made the sources, has this umask."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with files of all modes, closed and empty directories, links, and two names of a file."""
    project = make_project(tmp_path / "shop")
    for name, mode in (EXECUTABLE | PLAIN).items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 1000)
        path.chmod(mode)
    (project / "twin").hardlink_to(project / "open")
    (project / "link").symlink_to("bin/tool")
    (project / "nowhere").symlink_to("not/there")
    (project / ".gitattributes").write_text("open export-ignore\nsecret export-subst text eol=crlf\n")
    for name in EMPTY:
        (project / name).mkdir()
    commit(project)
    for name in (".", "closed", "closed/deep", "bin"):
        (project / name).chmod(0o700)
    return project


def as_git_sees_it(_project: Path) -> None:
    return None


def revision(_project: Path) -> str:
    return "HEAD"


def plain_directory(project: Path) -> str:
    copy = project.parent / "plain"
    shutil.copytree(project, copy, symlinks=True, ignore=lambda _folder, names: {".git", ".gapless"} & {*names})
    for name, mode in (EXECUTABLE | PLAIN).items():
        (copy / name).chmod(mode)
    return str(copy)


def clone(project: Path) -> str:
    git(project.parent, "clone", "-q", str(project), "clone")
    return str(project.parent / "clone")


def archive(project: Path) -> str:
    packed = project.parent / "shop.tgz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(project, "shop", filter=lambda one: None if Path(one.name).name in {".git", ".gapless"} else one)
    return str(packed)


def by_tar(project: Path) -> str:
    packed = project.parent / "by-tar.tar.xz"
    argv = ["tar", "-C", str(project), "--exclude=./.git", "--exclude=./.gapless", "-cJf", str(packed), "."]
    subprocess.run(argv, check=True)
    return str(packed)


WITH_EMPTY = [plain_directory, archive, by_tar]


def listed(tree: Path) -> dict[str, tuple[str, int, bytes]]:
    """Kind, mode and content of all there is, but for what the deploy compiled."""
    found = {}
    for path in (tree, *tree.rglob("*")):
        if "__pycache__" in path.parts:
            continue
        mode = path.lstat().st_mode
        content = b""
        if stat.S_ISLNK(mode):
            content = bytes(path.readlink())
        elif stat.S_ISREG(mode):
            content = path.read_bytes()
            assert path.stat().st_nlink == 1
        found[str(path.relative_to(tree))] = (f"{stat.S_IFMT(mode):o}", stat.S_IMODE(mode), content)
    return found


@pytest.mark.parametrize("way", [as_git_sees_it, revision, clone, *WITH_EMPTY])
def test_one_project_in_every_way(project: Path, way: Callable[[Path], str | None]) -> None:
    """Invariant 13: the same files with the same modes and bytes, which are those that were committed; sealed."""
    shop = Shop(project, ScriptedManager(project / ".gapless"))
    release = listed(shop.target.store.path(shop.deploy(source=way(project))))
    files = {name: (one[1], one[2]) for name, one in release.items() if one[0] == "100000"}
    expected = {name: (0o555 if name in EXECUTABLE else 0o444, name.encode() * 1000) for name in EXECUTABLE | PLAIN}
    expected["twin"] = (0o444, b"open" * 1000)
    for name in (".gitignore", ".gitattributes", "app.py", "gapless.toml"):
        expected[name] = (0o444, (project / name).read_bytes())
    assert files == expected
    links = {name: one[2] for name, one in release.items() if one[0] == "120000"}
    assert links == {"link": b"bin/tool", "nowhere": b"not/there"}
    directories = {name: one[1] for name, one in release.items() if name not in files.keys() | links.keys()}
    full = {".", "bin", "closed", "closed/deep"}
    assert directories == dict.fromkeys(full | (EMPTY if way in WITH_EMPTY else set()), 0o555)
