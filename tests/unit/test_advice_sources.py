"""What is advised about a release's source and its settings, done in the state that advises it: then it is one."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gapless import config, environment
from gapless.errors import GaplessError
from gapless.linux.files import not_too_deep
from gapless.release import assets as publishing
from gapless.release import budget, copying, sources
from tests.unit.release_kit import git, make_project

FILES = {"gapless.toml": b'name = "shop"\ncommand = "serve"\n', "app.py": b"print()\n"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "shop")


def packed(path: Path, *more: tarfile.TarInfo) -> str:
    """An archive of FILES and `more`; its path."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return str(path)


def install(project: Path, named: str | None) -> Path:
    """The tree of the source."""
    tree = project.parent / "out"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    sources.find(project, named).install(tree)
    return tree


def refused(act: Callable[[], object], advised: str) -> str:
    """What is advised where `act` is refused; it has to be a hint of the source."""
    with pytest.raises(GaplessError) as caught:
        act()
    assert advised in caught.value.hint
    return caught.value.hint


def unsafe(path: Path) -> str:
    return packed(path, tarfile.TarInfo("../victim"))


def long_header(path: Path) -> str:
    member = tarfile.TarInfo("a")
    member.pax_headers = {"comment": "x" * (2 << 20)}
    return packed(path, member)


def too_much(path: Path) -> str:
    return packed(path, *(tarfile.TarInfo(f"f{number}") for number in range(20)))


def damaged(path: Path) -> str:
    member = tarfile.TarInfo("a")
    member.size = 1 << 20
    whole = Path(packed(path, member)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return str(path)


def no_archive(path: Path) -> str:
    path.write_text("PK")
    return str(path)


@pytest.mark.parametrize(
    ("make", "advised"),
    [
        (unsafe, "make the archive without it"),
        (long_header, "make the archive without it"),
        (too_much, "make the archive without what is too much"),
        (damaged, "make the archive again"),
        (no_archive, "it must be a tar archive: plain, .gz, .xz or .bz2"),
    ],
)
def test_an_archive_as_it_is_advised(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], str], advised: str
) -> None:
    """Made again, without what is wrong with it, it is a source."""
    monkeypatch.setattr(budget, "MAX_MEMBERS", 10)
    refused(lambda: install(project, make(tmp_path / "in.tgz")), advised)
    assert (install(project, packed(tmp_path / "again.tgz")) / "app.py").read_bytes() == FILES["app.py"]


def test_a_directory_that_holds_too_much_as_it_is_advised(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What git ignores is no part of it."""
    (project / "dumps").mkdir()
    for number in range(20):
        (project / "dumps" / str(number)).touch()
    monkeypatch.setattr(budget, "MAX_MEMBERS", 10)
    refused(lambda: sources.find(project), "let git ignore what is no part of a release")
    (project / ".gitignore").write_text("dumps/\n")
    assert (install(project, None) / "app.py").exists()


def test_a_revision_that_is_elsewhere(project: Path, tmp_path: Path) -> None:
    """After `git fetch` the revision of somebody else is found."""
    git(tmp_path, "clone", "-q", str(project), "clone")
    (project / "new.py").touch()
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "new")
    revision = git(project, "rev-parse", "HEAD")
    clone = tmp_path / "clone"
    hint = refused(lambda: sources.find(clone, revision), "check the spelling, or `git fetch` first")
    subprocess.run(hint.split("`")[1].split(), cwd=clone, check=True, capture_output=True)
    assert (install(clone, revision) / "new.py").exists()


def test_a_git_that_is_missing(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With git on the path again the same directory is a source; the package is called git everywhere."""
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        refused(lambda: sources.find(project), "install git")
    assert sources.find(project)


def test_a_file_that_changes_its_kind(project: Path) -> None:
    """`ls -l` shows what took its place; a file again, it is read."""
    (project / "app.py").unlink()
    (project / "app.py").mkdir()
    hint = refused(lambda: copying.opened(project, "app.py").__enter__(), "see what it is with `ls -l`")
    listing = subprocess.run([*hint.split("`")[1].split(), str(project)], check=True, capture_output=True, text=True)
    assert "drwx" in listing.stdout
    (project / "app.py").rmdir()
    (project / "app.py").touch()
    with copying.opened(project, "app.py") as file:
        assert file.read() == b""


def test_a_file_of_variables_that_is_elsewhere(project: Path, tmp_path: Path) -> None:
    """A copy in the project's directory is read, whoever reads it."""
    (tmp_path / "shop.env").write_text("A=1\n")
    (project / "link").symlink_to(tmp_path / "shop.env")
    read = sources.reader_in(project)
    refused(lambda: read(project / "link"), "copy it into the project's directory")
    for name, advised in (("link", "copy it into the project's directory"), ("none", "create it")):
        named = config.parse(f'name = "shop"\ncommand = "x"\nenv_file = "{name}"\n', project / "gapless.toml")
        fix = partial(environment.fix, tmp_path / name, "r1", named, project)
        refused(fix, advised)
        (project / name).unlink(missing_ok=True)
        shutil.copy(tmp_path / "shop.env", project / name)
        assert read(project / name) == b"A=1\n"
        fix()
        assert environment.read(tmp_path / name, "r1")["A"] == "1"


def test_a_variable_of_the_managers(project: Path, tmp_path: Path) -> None:
    """Called otherwise, it is the app's."""
    for name in ("LISTEN_FDS", "SHOP_FDS"):
        named = config.parse(f'name = "shop"\ncommand = "x"\nenv = {{ {name} = "1" }}\n', project / "gapless.toml")
        if name.startswith("LISTEN"):
            refused(
                partial(environment.fix, tmp_path / "home", "r1", named, project), "are the manager's: choose others"
            )
    environment.fix(tmp_path / "home", "r1", named, project)
    assert environment.read(tmp_path / "home", "r1")["SHOP_FDS"] == "1"


def nested(top: Path, depth: int) -> Path:
    """So many directories, one in the other."""
    top.mkdir()
    inner = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=inner)
        outer, inner = inner, os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(inner)
    return top


def walk(path: Path) -> None:
    """As what walks through a release does: one call a directory."""
    for one in path.iterdir():
        walk(one)


def test_directories_that_are_nested_too_deeply(tmp_path: Path) -> None:
    """Less than 900 can be walked through."""
    with pytest.raises(GaplessError) as caught, not_too_deep("seal", "r1"):
        walk(nested(tmp_path / "deep", 1200))
    assert caught.value.hint == "let there be less than 900, one in the other"
    with not_too_deep("seal", "r1"):
        walk(nested(tmp_path / "less", 800))
    subprocess.run(["rm", "-r", str(tmp_path / "deep")], check=True)


def test_public_files_that_are_not_there(tmp_path: Path) -> None:
    """Where the build makes the directory, or [assets] does not name it, the release is published."""
    hint = refused(lambda: publishing.files_of(tmp_path, {"/s": "static"}), "have the build make that directory itself")
    assert hint.endswith("or take it out of [assets]")
    assert publishing.files_of(tmp_path, {}) == ({}, [])
    (tmp_path / "static").mkdir()
    assert publishing.files_of(tmp_path, {"/s": "static"}) == ({}, [])
