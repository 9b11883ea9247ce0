"""Where releases come from: real directories, real git, real archives."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release import budget, sources
from tests.unit.release_kit import CONFIG, commit, git, make_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "shop")


def installed(source: sources.Source, where: Path) -> list[str]:
    where.mkdir()
    source.install(where)
    return sorted(str(path.relative_to(where)) for path in where.rglob("*") if path.is_symlink() or not path.is_dir())


BASE = [".gitignore", "app.py", "gapless.toml"]


def test_the_project_at_a_commit(project: Path, tmp_path: Path) -> None:
    """An unchanged work tree is named after its commit and branch."""
    head = git(project, "rev-parse", "HEAD")
    source = sources.find(project)
    assert (source.short, source.revision) == (head[:7], f"{head[:7]} (main)")
    assert installed(source, tmp_path / "out") == BASE
    git(project, "checkout", "-q", "--detach")
    assert sources.find(project).revision == head[:7]


def test_the_project_as_git_sees_it(project: Path, tmp_path: Path) -> None:
    """New files come, ignored, deleted and gapless's own ones do not; modes and links are kept."""
    head = git(project, "rev-parse", "HEAD")
    (project / "app.py").unlink()
    (project / "run näme\n").write_text("#!/bin/sh\n")
    (project / "run näme\n").chmod(0o755)
    (project / "link").symlink_to("gapless.toml")
    (project / "key.secret").write_text("x")
    (project / ".gitignore").write_text("*.secret\n")  # .gapless and .venv stay out without being named
    for name in (".gapless/releases/r1", ".venv/bin", "pkg/__pycache__"):
        (project / name).mkdir(parents=True)
        (project / name / "file").write_text("x")
    source = sources.find(project)
    out = tmp_path / "out"
    assert installed(source, out) == [".gitignore", "gapless.toml", "link", "run näme\n"]
    assert source.revision == f"{head[:7]} with local changes"
    assert source.short != head[:7]
    assert (out / "run näme\n").stat().st_mode & 0o777 == 0o755
    assert os.readlink(out / "link") == "gapless.toml"  # noqa: PTH115 - its text is what counts


def test_changed_content_changes_the_name(project: Path) -> None:
    """Two states of one work tree have two names, the same state has the same."""
    (project / "app.py").write_text("1")
    first = sources.find(project).short
    assert sources.find(project).short == first
    (project / "app.py").write_text("2")
    assert sources.find(project).short != first


def test_a_project_without_a_commit(tmp_path: Path) -> None:
    """A repository that has no commit yet can be deployed."""
    project = tmp_path / "new"
    project.mkdir()
    git(project, "init", "-q")
    (project / "gapless.toml").write_text(CONFIG)
    source = sources.find(project)
    assert source.revision == "not committed yet"
    assert installed(source, tmp_path / "out") == ["gapless.toml"]


def test_a_repository_inside_and_a_directory_that_became_a_link(project: Path, tmp_path: Path) -> None:
    """A repository within the project comes with its files; a link does not become a copy of what it leads to."""
    (project / "lib").mkdir()
    (project / "lib" / "code.py").write_text("x")
    (project / "empty").mkdir()
    commit(project)
    make_project(project / "inner")
    shutil.move(project / "lib", project / "elsewhere")
    (project / "lib").symlink_to("elsewhere")
    out = tmp_path / "out"
    inner = [f"inner/{name}" for name in BASE]
    assert installed(sources.find(project), out) == sorted([*BASE, "lib", "elsewhere/code.py", *inner])
    assert (out / "lib").is_symlink()


def test_a_directory_of_a_repository(project: Path, tmp_path: Path) -> None:
    """A service in a directory of a larger repository is deployed alone, from the work tree and at a revision."""
    service = project / "services" / "api"
    service.mkdir(parents=True)
    (service / "gapless.toml").write_text(CONFIG)
    head = commit(project)
    assert installed(sources.find(service), tmp_path / "out") == ["gapless.toml"]
    assert installed(sources.find(service, head), tmp_path / "out2") == ["gapless.toml"]


def test_git_in_a_hook_asks_about_the_project(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deploy from a git hook, which sets GIT_DIR, is of the project and not of the hook's repository."""
    monkeypatch.setenv("GIT_DIR", str(make_project(tmp_path / "other") / ".git"))
    assert installed(sources.find(project), tmp_path / "out") == BASE


def test_a_git_that_fails_is_an_error(project: Path) -> None:
    """Where git is responsible but fails, nothing is copied instead: ignored files may be secrets."""
    (project / ".git" / "HEAD").write_text("broken")
    with pytest.raises(GaplessError, match=r"cannot read .*: not a git repository"):
        sources.find(project)


def test_a_plain_directory(project: Path, tmp_path: Path) -> None:
    """Without git all comes but caches and environments; the project's gapless.toml is added."""
    plain = tmp_path / "dist"
    for name in (".git-not", "assets", ".venv", "__pycache__", "empty"):
        (plain / name).mkdir(parents=True)
    for name in ("assets/a.css", ".venv/python", "__pycache__/x.pyc", ".env"):
        (plain / name).write_text("x")
    os.mkfifo(plain / "pipe")
    source = sources.find(project, str(plain))
    out = tmp_path / "out"
    assert installed(source, out) == [".env", "assets/a.css", "gapless.toml"]
    assert (out / "empty").is_dir()
    assert source.revision == "dist"
    assert len(source.short) == 7
    assert not any(stat.S_ISFIFO(path.lstat().st_mode) for path in out.rglob("*"))


def test_an_ignored_directory_in_the_project(project: Path, tmp_path: Path) -> None:
    """A build's output that git ignores can be deployed: it is what was asked for."""
    (project / ".gitignore").write_text("dist/\n")
    (project / "dist").mkdir()
    (project / "dist" / "index.html").write_text("x")
    source = sources.find(project, str(project / "dist"))
    assert installed(source, tmp_path / "out") == ["gapless.toml", "index.html"]


@pytest.mark.parametrize(("suffix", "mode"), [("tar", "w"), ("tgz", "w:gz"), ("tar.xz", "w:xz"), ("tar.bz2", "w:bz2")])
def test_an_archive(project: Path, tmp_path: Path, suffix: str, mode: str) -> None:
    """Every usual archive is unpacked, and its one top-level directory stripped."""
    archive = tmp_path / f"shop-1.{suffix}"
    with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]  # the mode is one of four
        tar.add(project, "shop", filter=lambda one: None if Path(one.name).name == ".git" else one)
    source = sources.find(project, str(archive))
    assert installed(source, tmp_path / "out") == BASE
    assert source.revision == archive.name
    assert source.short == sources.find(project, str(archive)).short


def test_a_revision(project: Path, tmp_path: Path) -> None:
    """A revision is what it was at that commit, whatever the work tree holds; a gapless.toml is found for it."""
    git(project, "rm", "-q", "gapless.toml")
    head = commit(project)
    git(project, "tag", "v1")
    (project / "gapless.toml").write_text(CONFIG + "# of the project\n")
    (project / "app.py").write_text("changed")
    source = sources.find(project, "v1")
    out = tmp_path / "out"
    assert installed(source, out) == BASE
    assert (source.short, source.revision) == (head[:7], f"{head[:7]} (v1)")
    assert sources.find(project, head[:10]).revision == head[:7]
    assert (out / "app.py").read_text() == "print('hello')\n"
    assert (out / "gapless.toml").read_text().endswith("# of the project\n")


@pytest.mark.parametrize("named", ["no-such", "--output=x", "HEAD:app.py", "missing.tgz"])
def test_what_is_no_source(project: Path, named: str) -> None:
    """Invariant 8: what is none of the three is said to be none of the three."""
    with pytest.raises(GaplessError, match="neither a directory, nor an archive file, nor a git rev") as refused:
        sources.find(project, named)
    assert refused.value.status == 2


def test_a_file_that_is_no_archive(project: Path) -> None:
    """An existing file that tar cannot read is refused before anything starts."""
    with pytest.raises(GaplessError, match=r"cannot unpack .*app\.py"):
        sources.find(project, str(project / "app.py"))


@pytest.mark.parametrize("under_git", [False, True])
def test_a_directory_that_holds_too_much(project: Path, under_git: bool) -> None:
    """A sparse file would fill the disk where it is copied to."""
    if not under_git:
        shutil.rmtree(project / ".git")
    with (project / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(GaplessError, match="it holds more than 8 GiB"):
        sources.find(project)


def test_a_directory_that_grows_once_it_was_listed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who owns it may make a file larger between the look and the copy: what is copied is counted."""
    found = sources.find(project)
    os.truncate(project / "app.py", 1 << 40)
    monkeypatch.setattr(budget, "MAX_BYTES", 1 << 20)  # or the disk of the test would have to hold it
    (tmp_path / "out").mkdir()
    with pytest.raises(GaplessError, match="it holds more than 0 GiB"):
        found.install(tmp_path / "out")
    assert (tmp_path / "out/app.py").stat().st_size <= 2 << 20


def test_a_directory_of_too_many_files_or_directories(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes an inode of the server's disk, and a path that is too deep much time."""
    shutil.rmtree(project / ".git")
    (project / "/".join(["d"] * (budget.DEEPEST + 2))).mkdir(parents=True)
    with pytest.raises(GaplessError, match=r"below more than 200 directories"):
        sources.find(project)
    monkeypatch.setattr(budget, "MAX_MEMBERS", 3)
    with pytest.raises(GaplessError, match="more than 3 files and directories"):
        sources.find(project)


def test_a_git_that_answers_with_no_hash(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns a repository may speak in git's place, and a release's name begins as its commit's hash does."""
    lie = tmp_path / "bin/git"
    lie.parent.mkdir()
    lie.write_text(
        f'#!/bin/sh\ncase "$*" in *rev-parse*) echo "/../../x" ;; *) exec {shutil.which("git")} "$@" ;; esac\n'
    )
    lie.chmod(0o755)
    monkeypatch.setenv("PATH", f"{lie.parent}:{os.environ['PATH']}")
    for named in (None, "HEAD"):
        with pytest.raises(GaplessError, match="which is no commit's hash"):
            sources.find(project, named)
