"""What only stands in for files is named and refused: Git LFS's pointers, and submodules that are not there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release import sources
from tests.unit.release_kit import commit, git, make_project

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 5\n".format("4d" * 32)
# git-lfs as git starts it. Its pull puts the files in the place of the pointers, in the repository that it is in; where
# it is not installed for that, 3.3 says so, does nothing, and succeeds.
LFS = """#!/bin/sh
if test "$*" = "install --local"; then git config filter.lfs.required true; exit; fi
test "$*" = pull || exit 1
test "$(git config filter.lfs.required)" = true || exit 0
cd "$(git rev-parse --show-toplevel)"
git grep -lz "^version https://git-lfs" | xargs -0r -I {} sh -c 'echo whole > "{}"'
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, and a git that has an lfs and clones from directories."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "git-lfs").write_text(LFS)
    (place / "git-lfs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    for name, value in {"COUNT": "1", "KEY_0": "protocol.file.allow", "VALUE_0": "always"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    return make_project(tmp_path / "shop")


def refused(project: Path, named: str | None, *, match: str) -> GaplessError:
    with pytest.raises(GaplessError, match=match) as error:
        install(project, named, "refused")
    return error.value


def install(project: Path, named: str | None, name: str = "out") -> Path:
    out = project.parent / name
    out.mkdir()
    sources.find(project, named).install(out)
    return out


def commands(hint: str) -> list[list[str]]:
    """The commands in the hint, in their order."""
    return [shlex.split(command) for command in re.findall(r"`([^`]+)`", hint)]


def with_pointers(project: Path) -> str:
    (project / "static").mkdir()
    for name in ("static/logo.png", "film ä.mp4"):
        (project / name).write_text(POINTER)
    return commit(project)


def test_a_revision_with_pointers(project: Path) -> None:
    """Invariant 13: files that Git LFS has are named, and after what the hint says the directory has them."""
    head = with_pointers(project)
    error = refused(
        project, "HEAD", match=rf"cannot deploy git revision {head[:7]}: .*'film ä.mp4', 'static/logo.png'$"
    )
    for command in commands(error.hint):
        subprocess.run(command, check=True, capture_output=True)
    assert "deploy the directory, without a revision" in error.hint
    assert (install(project, None) / "static/logo.png").read_text() == "whole\n"


@pytest.mark.parametrize("inner", [False, True], ids=["outer", "inner"])
def test_a_directory_with_pointers(project: Path, inner: bool) -> None:
    """Invariant 13: files on disk that are still pointers are named, also those of a repository inside."""
    with_pointers(make_project(project / "inner") if inner else project)
    prefix = "inner/" if inner else ""
    error = refused(project, None, match=rf"'{prefix}film ä.mp4', '{prefix}static/logo.png'$")
    for command in commands(error.hint):
        subprocess.run(command, check=True, capture_output=True)
    assert (install(project, None) / prefix / "static/logo.png").read_text() == "whole\n"


@pytest.mark.parametrize("packed", [False, True], ids=["directory", "archive"])
def test_what_was_made_of_a_repository(project: Path, tmp_path: Path, packed: bool) -> None:
    """Invariant 13: a directory without git, or an archive, is refused for its pointers, and made again is not."""
    with_pointers(project)
    made = tmp_path / ("made.tgz" if packed else "made")

    def make() -> None:
        shutil.rmtree(made, ignore_errors=True)
        if packed:
            with tarfile.open(made, "w:gz") as archive:
                archive.add(project, "shop", filter=lambda one: None if one.name == "shop/.git" else one)
        else:
            shutil.copytree(project, made, ignore=lambda _folder, _names: {".git"})

    make()
    error = refused(project, str(made), match=r"'static/logo.png'$")
    for command in commands(error.hint):
        subprocess.run(command, cwd=project, check=True, capture_output=True)
    make()
    assert (install(project, str(made)) / "static/logo.png").read_text() == "whole\n"


def test_many_pointers_are_counted(project: Path) -> None:
    """An error stays readable: it has the first names, and how many more there are."""
    for number in range(8):
        (project / f"f{number}").write_text(POINTER)
    commit(project)
    assert refused(project, "HEAD", match="'f3', 'f4' and 3 more$")


def test_what_is_no_pointer(project: Path) -> None:
    """Text about Git LFS, a link to such text and what is too large for a pointer are files like others."""
    (project / "about").write_text(f"A pointer looks so:\n{POINTER}")
    (project / "large").write_text(POINTER + "x" * 1024)
    (project / "short").write_text(POINTER[:20])
    (project / "link").symlink_to(POINTER.splitlines()[0])
    commit(project)
    assert (install(project, "HEAD") / "large").read_text() == POINTER + "x" * 1024
    assert (install(project, None, "again") / "about").exists()


def with_submodule(project: Path) -> str:
    make_project(project.parent / "lib")
    git(project, "submodule", "--quiet", "add", str(project.parent / "lib"), "vendor/lib x")
    return commit(project)


def test_a_revision_with_a_submodule(project: Path) -> None:
    """Invariant 13: a submodule of a revision is named, and after what the hint says the directory has its files."""
    head = with_submodule(project)
    git(project, "submodule", "--quiet", "deinit", "--all")
    error = refused(project, head, match=rf"cannot read git revision {head[:7]}: .*'vendor/lib x'$")
    for command in commands(error.hint):
        subprocess.run(command, check=True, capture_output=True)
    assert "deploy the directory, without a revision" in error.hint
    assert (install(project, None) / "vendor/lib x/app.py").exists()


def test_a_submodule_elsewhere_in_the_repository(project: Path) -> None:
    """A service is not refused for what is not in its directory."""
    with_submodule(project)
    (project / "service").mkdir()
    shutil.copy(project / "gapless.toml", project / "service")
    commit(project)
    assert install(project / "service", "HEAD") == project / "out"


@pytest.mark.parametrize("gone", [False, True], ids=["empty", "gone"])
def test_a_submodule_that_is_not_checked_out(project: Path, gone: bool) -> None:
    """Invariant 13: an empty directory is not shipped in its place; the hint's first command checks it out."""
    with_submodule(project)
    git(project, "submodule", "--quiet", "deinit", "--all")
    if gone:
        (project / "vendor/lib x").rmdir()
    error = refused(project, None, match=r"its submodules are not checked out: 'vendor/lib x'$")
    subprocess.run(commands(error.hint)[0], check=True, capture_output=True)
    assert (install(project, None) / "vendor/lib x/app.py").exists()


def test_a_submodule_of_unknown_origin(project: Path) -> None:
    """Where .gitmodules does not have it, the hint's second command makes git forget it, and the deploy works."""
    make_project(project / "inner")
    commit(project)
    shutil.rmtree(project / "inner")
    error = refused(project, None, match=r"its submodules are not checked out: 'inner'$")
    subprocess.run(commands(error.hint)[1], check=True, capture_output=True)
    assert install(project, None, "again")


def test_a_submodule_in_a_submodule(project: Path) -> None:
    """What is not checked out is found at any depth, and named with its own repository."""
    make_project(project.parent / "deepest")
    lib = make_project(project.parent / "lib")
    git(lib, "submodule", "--quiet", "add", str(project.parent / "deepest"), "deep")
    commit(lib)
    git(project, "submodule", "--quiet", "add", str(lib), "lib")
    commit(project)
    error = refused(project, None, match=r"cannot read .*/shop/lib: its submodules are not checked out: 'deep'$")
    subprocess.run(commands(error.hint)[0], check=True, capture_output=True)
    assert (install(project, None) / "lib/deep/app.py").exists()


@pytest.mark.parametrize("named", [None, "HEAD", "archive"])
def test_what_git_crypt_has_encrypted_is_named(project: Path, named: str | None) -> None:
    """git itself has only the ciphertext: a release of it would not run, and nobody would see why."""
    (project / ".gitattributes").write_text("secrets/** filter=git-crypt diff=git-crypt\n")
    (project / "secrets").mkdir()
    (project / "secrets/key").write_bytes(b"\0GITCRYPT\0" + bytes(20))
    commit(project)
    if named == "archive":
        named = str(project.parent / "shop.tar")
        subprocess.run(["git", "-C", str(project), "archive", "-o", named, "HEAD"], check=True)
    error = refused(project, named, match="git-crypt has encrypted 'secrets/key'")
    assert "git-crypt unlock" in error.hint
    (project / "secrets/key").write_text("unlocked")  # as `git-crypt unlock` leaves it
    assert (install(project, None) / "secrets/key").read_text() == "unlocked"
