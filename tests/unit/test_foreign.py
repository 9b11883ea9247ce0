"""Repositories of others: whoever asks git about one runs none of its programs, and root asks as its owner."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release import git_run, sources
from tests.unit.release_kit import commit, git, make_project

ROOT = os.geteuid() == 0
NOBODY, NO_ACCOUNT = 65534, 54321
OTHERS = [NOBODY, NO_ACCOUNT] if ROOT else []
SIGNED = """tree {tree}
author Test <test@example.org> 1500000000 +0000
committer Test <test@example.org> 1500000000 +0000
gpgsig -----BEGIN PGP SIGNATURE-----
 \n AAAA
 -----END PGP SIGNATURE-----

signed
"""


class Trap:
    """A program that a repository names: it writes who runs it. `place` is where every user may go."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.said = place / "said"
        self.said.touch()
        self.said.chmod(0o666)
        self.program = place / "program"
        self.program.write_text(f"#!/bin/sh\nid -u >> {self.said}\nexec cat\n")
        self.program.chmod(0o755)

    @property
    def ran_as(self) -> set[int]:
        return {int(line) for line in self.said.read_text().split()}

    def bind(self, repository: Path, *names: str) -> None:
        for name in names:
            git(repository, "config", name, str(self.program))


@pytest.fixture
def trap() -> Iterator[Trap]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Trap(Path(folder))


def fsmonitor(project: Path, trap: Trap) -> None:
    trap.bind(project, "core.fsmonitor")


def hook(project: Path, trap: Trap) -> None:
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "post-checkout"):
        shutil.copy(trap.program, project / ".git/hooks" / name)


def attributes(project: Path, text: str) -> None:
    (project / ".gitattributes").write_text(text)
    commit(project)
    # Same size, so that git has to look into it.
    os.utime(project / "app.py", (1_500_000_000, 1_500_000_000))


def clean(project: Path, trap: Trap) -> None:
    attributes(project, "*.py filter=x=y\n")
    trap.bind(project, "filter.x=y.clean")


def smudge(project: Path, trap: Trap) -> None:
    attributes(project, "*.py filter=x.y\n")
    trap.bind(project, "filter.x.y.smudge")


def process(project: Path, trap: Trap) -> None:
    attributes(project, "*.py filter=x\n")
    trap.bind(project, "filter.x.process")


def textconv(project: Path, trap: Trap) -> None:
    attributes(project, "*.py diff=x\n")
    (project / "app.py").write_text("print('world')\n")
    trap.bind(project, "diff.x.textconv", "diff.x.command", "diff.external")


def signature(project: Path, trap: Trap) -> None:
    """What this names is run by `git archive` of git 2.41 and later."""
    (project / "sig").write_text("$Format:%G?$\n")
    attributes(project, "sig export-subst\n")
    tree = git(project, "rev-parse", "HEAD^{tree}")
    argv = ["git", "-C", str(project), "hash-object", "-t", "commit", "-w", "--stdin"]
    done = subprocess.run(argv, input=SIGNED.format(tree=tree), text=True, capture_output=True, check=True)
    git(project, "update-ref", "HEAD", done.stdout.strip())
    trap.bind(project, "gpg.program", "gpg.openpgp.program")


def partial_clone(project: Path, trap: Trap) -> None:
    lose(project)
    git(project, "config", "protocol.ext.allow", "always")
    git(project, "config", "remote.origin.url", f"ext::{trap.program}")


def partial_clone_of_a_directory(project: Path, trap: Trap) -> None:
    lose(project)
    git(project, "config", "remote.origin.url", str(trap.place))
    trap.bind(project, "remote.origin.uploadpack", "core.sshCommand", "core.askPass")


def lose(project: Path) -> None:
    """Make it a partial clone that lacks a file."""
    blob = git(project, "rev-parse", "HEAD:app.py")
    (project / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for setting in ("core.repositoryformatversion=1", "extensions.partialClone=origin", "remote.origin.promisor=true"):
        git(project, "config", *setting.split("="))


PARTIAL = [partial_clone, partial_clone_of_a_directory]
TRAPS = [
    fsmonitor,
    hook,
    clean,
    smudge,
    process,
    textconv,
    signature,
    *PARTIAL,
]


def give(tree: Path, uid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it that user's, who typed sudo(8): root's git would trust it for that."""
    subprocess.run(["chown", "-R", str(uid), str(tree)], check=True)
    monkeypatch.setenv("SUDO_UID", str(uid))


def read_all(project: Path, place: Path) -> list[GaplessError]:
    """Install the work tree and the revision; what was refused."""
    refused = []
    for number, named in enumerate((None, "HEAD")):
        out = place / f"out{number}"
        out.mkdir()
        try:
            sources.find(project, named).install(out)
        except GaplessError as error:
            refused.append(error)
    return refused


@pytest.mark.parametrize("uid", OTHERS)
@pytest.mark.parametrize("lay", TRAPS)
def test_nothing_of_a_foreign_repository_runs(
    trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lay: Callable[[Path, Trap], None], uid: int
) -> None:
    """Invariant 9: whatever program the repository of another user names, root does not run it, nor has it run."""
    project = make_project(trap.place / "shop")
    lay(project, trap)
    give(project, uid, monkeypatch)
    refused = read_all(project, tmp_path)
    assert trap.ran_as == set()
    if lay in PARTIAL:  # git looks into a file that changed hands
        assert ["it is a partial clone" in error.hint for error in refused] == [True, True]
        return
    assert refused == []
    assert (tmp_path / "out0/app.py").read_text() == (project / "app.py").read_text()
    assert (tmp_path / "out1/app.py").read_text() == "print('hello')\n"  # as it was committed


@pytest.mark.parametrize("lay", TRAPS)
def test_of_ones_own_repository_the_filters_run(trap: Trap, tmp_path: Path, lay: Callable[[Path, Trap], None]) -> None:
    """Whether a file changed is for git-lfs and the like to say, programs of whoever asks; but root has nothing run."""
    project = make_project(trap.place / "shop")
    lay(project, trap)
    refused = read_all(project, tmp_path)
    assert trap.ran_as == ({os.geteuid()} if lay in {clean, process} and not ROOT else set())
    assert len(refused) == (lay in PARTIAL)


@pytest.mark.parametrize("uid", OTHERS)
@pytest.mark.parametrize("lay", [fsmonitor, hook, clean, process, textconv])
@pytest.mark.parametrize("submodule", [False, True])
def test_nothing_of_a_foreign_repository_inside_runs(
    trap: Trap,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lay: Callable[[Path, Trap], None],
    uid: int,
    submodule: bool,
) -> None:
    """Invariant 9: in root's own project another user's repository, a submodule too, is read as that user."""
    project = make_project(trap.place / "shop")
    inner = make_project(project / "inner")
    lay(inner, trap)
    if submodule:
        commit(project)  # git adds the inner repository by its commit
    give(inner, uid, monkeypatch)
    out = tmp_path / "out"
    out.mkdir()
    source = sources.find(project)
    source.install(out)
    assert trap.ran_as == set()
    assert (out / "inner/app.py").read_text() == (inner / "app.py").read_text()
    assert source.revision.endswith("(main)") == (submodule and lay is not textconv)


def test_what_changed_in_a_submodule_counts(trap: Trap) -> None:
    """A submodule with local changes makes local changes of the whole, whoever has it."""
    project = make_project(trap.place / "shop")
    inner = make_project(project / "inner")
    commit(project)
    assert sources.find(project).revision.endswith("(main)")
    (inner / "new").write_text("x")
    assert sources.find(project).revision.endswith("with local changes")


def test_a_directory_that_looks_like_a_repository_is_none(trap: Trap) -> None:
    """A project's files cannot make a bare repository, with a configuration of its own, of one of its directories."""
    project = make_project(trap.place / "shop")
    service = project / "service"
    service.mkdir()
    git(service, "init", "-q", "--bare", ".")
    (service / "gapless.toml").write_text('name = "shop"\ncommand = "serve"\n')
    git(service, "config", "core.bare", "false")
    git(service, "config", "core.worktree", str(service))
    trap.bind(service, "core.fsmonitor", "filter.x.clean", "filter.x.smudge")
    (service / ".gitattributes").write_text("* filter=x\n")
    git(service, "--git-dir=.", "add", "-f", "gapless.toml")
    trap.said.write_text("")
    os.utime(service / "gapless.toml", (1, 1))
    with pytest.raises(GaplessError):
        sources.find(service)
    assert trap.ran_as == set()


WRAPPER = """#!/bin/sh
{{ id -u; id -G; env; readlink /proc/self/fd/0; }} > {place}/seen.$(id -u)
exec {git} "$@"
"""


@pytest.mark.skipif(not ROOT, reason="only root may be somebody else")
@pytest.mark.parametrize("uid", [0, NOBODY, NO_ACCOUNT])
def test_who_git_is(trap: Trap, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """git runs as the owner, with the owner's groups and home, and sees none of root's tokens; root stays root."""
    project = make_project(trap.place / "shop")
    give(project, uid, monkeypatch)
    real = shutil.which("git")
    (trap.place / "bin").mkdir()
    (trap.place / "bin/git").write_text(WRAPPER.format(place=trap.place, git=real))
    (trap.place / "bin/git").chmod(0o755)
    trap.place.chmod(0o777)
    monkeypatch.setenv("PATH", f"{trap.place / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("TOKEN", "hunter2")
    monkeypatch.setenv("TZ", "UTC")
    sources.find(project)
    assert [path.name for path in trap.place.glob("seen.*")] == [f"seen.{uid}"]
    who, groups, *lines, stdin = (trap.place / f"seen.{uid}").read_text().splitlines()
    env = dict(line.partition("=")[::2] for line in lines)
    assert (who, stdin) == (str(uid), "/dev/null")
    assert (env["TZ"], env["GIT_TERMINAL_PROMPT"]) == ("UTC", "0")
    assert "SUDO_UID" not in env
    if uid:
        assert groups == "65534"
        assert env["HOME"] == "/nonexistent"
        assert "TOKEN" not in env


@pytest.mark.skipif(not ROOT, reason="only root may give files away")
def test_a_repository_where_its_owner_cannot_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 8: the error names who is meant and what helps; what it says does help."""
    (tmp_path / "closed").mkdir(mode=0o700)
    project = make_project(tmp_path / "closed" / "shop")
    give(project, NOBODY, monkeypatch)
    with pytest.raises(GaplessError, match=r"cannot read .*: .*ermission denied") as refused:
        sources.find(project)
    assert f"user {NOBODY}" in refused.value.hint
    give(project, 0, monkeypatch)
    assert sources.find(project)


@pytest.mark.skipif(not ROOT, reason="only root may give files away")
@pytest.mark.parametrize("part", [".", ".git", ".git/config"])
def test_a_repository_of_two(trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Who has a part of a repository has it: root is not the one to ask git about it."""
    project = make_project(trap.place / "shop")
    smudge(project, trap)
    fsmonitor(project, trap)
    os.chown(project / part, NOBODY, NOBODY)
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    read_all(project, tmp_path)
    assert trap.ran_as == set()


@pytest.mark.skipif(not ROOT, reason="only root may give files away")
def test_a_repository_that_is_elsewhere(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root asks nothing about a work tree of its own whose repository is another user's, whatever root's git trusts."""
    project = make_project(trap.place / "shop")
    fsmonitor(project, trap)
    (project / ".git").rename(trap.place / "elsewhere")
    (project / ".git").write_text(f"gitdir: {trap.place / 'elsewhere'}\n")
    give(trap.place / "elsewhere", NOBODY, monkeypatch)
    (trap.place / "config").write_text("[safe]\ndirectory = *\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(trap.place / "config"))
    with pytest.raises(GaplessError, match="dubious ownership") as refused:
        sources.find(project)
    assert "chown -R" in refused.value.hint
    assert not refused.value.details
    assert trap.ran_as == set()


def craft(repository: Path, name: str) -> None:
    """Put the one name into the index that git itself refuses to add."""
    stands_in = "a" * len(name)
    (repository / stands_in).write_text("evil")
    git(repository, "rm", "-q", "-r", "--cached", ".")
    git(repository, "add", stands_in)
    index = repository / ".git/index"
    content = index.read_bytes()[:-20].replace(stands_in.encode(), name.encode())
    index.write_bytes(content + hashlib.sha1(content, usedforsecurity=False).digest())
    (repository / stands_in).unlink()


@pytest.mark.parametrize("inner", [False, True], ids=["outer", "inner"])
@pytest.mark.parametrize("name", ["../victim", "app.d/../../victim", "/etc/hostname", ".."])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str, inner: bool) -> None:
    """Invariant 8: a name in a crafted index reads and writes nothing outside; the hint mends it."""
    project = make_project(tmp_path / "shop")
    repository = make_project(project / "inner") if inner else project
    (repository / "app.d").mkdir()
    (repository.parent / "victim").write_text("secret")
    craft(repository, name)
    with pytest.raises(GaplessError, match="git names a file outside of it") as refused:
        sources.find(project)
    command = refused.value.hint.partition("`")[2].partition("`")[0]
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(command.split(), check=True, capture_output=True)
    assert sources.find(project)


@pytest.mark.skipif(not ROOT, reason="only root may give files away")
@pytest.mark.parametrize("part", [".", "config", "info/attributes"])
def test_a_linked_worktree_of_anothers_repository(
    trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Root's own work tree has its settings in the repository that it was made from: who owns that, is who git is."""
    project = make_project(trap.place / "shop")
    linked = trap.place / "linked"
    git(project, "worktree", "add", "-q", str(linked), "HEAD")
    clean(project, trap)
    smudge(project, trap)
    fsmonitor(project, trap)
    (project / ".git/info").mkdir(exist_ok=True)
    (project / ".git/info/attributes").write_text("* filter=x=y\n")
    (linked / "app.py").write_text("changed\n")
    os.chown(project / ".git" / part, NOBODY, NOBODY)
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    read_all(linked, tmp_path)
    assert 0 not in trap.ran_as


def test_a_work_tree_that_leads_to_itself_is_read_to_an_end(tmp_path: Path) -> None:
    """A gitdir that is its own, or a pipe, hangs nobody."""
    (tmp_path / "circle").mkdir()
    (tmp_path / "circle/.git").write_text("gitdir: .git\n")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe/.git")
    for name in ("circle", "pipe"):
        with pytest.raises(GaplessError):
            sources.find(tmp_path / name, "HEAD")


def test_git_has_no_terminal(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a repository starts in spite of all is in a session of its own: it can neither read nor type on ours."""
    project = make_project(trap.place / "shop")
    in_the_place_of_git(trap, f"cut -d' ' -f6 /proc/self/stat >> {trap.said}", monkeypatch)
    assert read_all(project, trap.place) == []
    assert trap.ran_as
    assert os.getsid(0) not in trap.ran_as


@pytest.mark.parametrize("named", [None, "HEAD"])
@pytest.mark.parametrize("held", ["kill -STOP $$", "sleep 1000 & exec sleep 1000", "while :; do echo; sleep 0.1; done"])
def test_a_git_that_its_owner_holds_up(
    trap: Trap, monkeypatch: pytest.MonkeyPatch, held: str, named: str | None
) -> None:
    """Invariants 8 and 9: who owns a repository can stop its git, or have it drip; a deploy does not wait for ever."""
    project = make_project(trap.place / "shop")
    monkeypatch.setattr(git_run, "SILENT", 0.5)
    monkeypatch.setattr(git_run, "WITHIN", 1.0)
    only = "ls-files" if named is None else "cat-file"
    in_the_place_of_git(trap, f'case "$*" in *{only}*) {held} ;; esac', monkeypatch)
    began = time.monotonic()
    with pytest.raises(GaplessError, match=r"was silent for 0.5 s|took longer than 1 s|not have the file"):
        sources.find(project, named).install(trap.place / "out")
    assert time.monotonic() - began < 20


def in_the_place_of_git(trap: Trap, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a shell run `script` before it becomes git."""
    folder = trap.place / "bin"
    folder.mkdir()
    (folder / "git").write_text(f'#!/bin/sh\n{script}\nexec {shutil.which("git")} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
