"""Revisions, read from git's objects: as they were committed, and nothing that a repository lies about is believed."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release import budget, sources
from gapless.release import checkout as reading
from tests.unit.release_kit import CONFIG, commit, git, make_project

LIE = """#!{python}
import os, sys, time
if "cat-file" not in sys.argv:
    os.execv({git!r}, sys.argv)
asked = sys.stdin.readline().strip()
os.write(1, {answer!r}.replace(b"HASH", asked.encode()))
os.close(1)
time.sleep(100)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "shop")


def install(project: Path, revision: str = "HEAD") -> Path:
    """The release made of the revision."""
    out = project.parent / "out"
    out.mkdir()
    sources.find(project, revision).install(out)
    return out


def store(project: Path, kind: str, content: bytes) -> str:
    """Put an object into the repository that git itself would not make."""
    argv = ["git", "-C", str(project), "hash-object", "-t", kind, "-w", "--stdin", "--literally"]
    return subprocess.run(argv, input=content, capture_output=True, check=True).stdout.decode().strip()


def tree(project: Path, *entries: tuple[str, bytes, str]) -> str:
    """A tree of (mode, name, hash), in this order."""
    whole = b"".join(b"%s %s\0%s" % (mode.encode(), name, bytes.fromhex(one)) for mode, name, one in entries)
    return store(project, "tree", whole)


def commit_tree(project: Path, *entries: tuple[str, bytes, str]) -> str:
    return git(project, "commit-tree", "-m", "crafted", tree(project, *entries))


def test_files_come_as_they_were_committed(project: Path) -> None:
    """Invariant 13: attributes of the repository change, leave out and put in nothing."""
    (project / ".gitattributes").write_text(
        "ignored export-ignore\nsubst export-subst\nlines text eol=crlf\nupper filter=upper ident\n"
    )
    for name in ("ignored", "lines", "upper"):
        (project / name).write_text("one\ntwo $Id$\n")
    (project / "subst").write_text("$Format:%H$\n")
    (project / "big").write_bytes(os.urandom(3 << 20))
    (project / "empty").write_bytes(b"")
    commit(project)
    git(project, "config", "filter.upper.smudge", "tr a-z A-Z")
    out = install(project)
    for name in ("ignored", "subst", "lines", "upper", "big", "empty", ".gitattributes"):
        assert (out / name).read_bytes() == (project / name).read_bytes(), name


def test_any_name_and_link_that_git_knows(project: Path) -> None:
    """Names need no encoding, and links within the release come as they are, though they lead nowhere."""
    names = [b"new\nline", b'tab\tand \\ "quotes"', "näme".encode(), b"no utf-8 \xff", b"-x", b"deep/er/.gitkeep"]
    for name in names:
        path = Path(os.fsdecode(bytes(project) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    (project / "link").symlink_to("deep/../deep/er")
    (project / "nowhere").symlink_to("not/there")
    commit(project)
    out = install(project)
    for name in names:
        assert Path(os.fsdecode(bytes(out) + b"/" + name)).read_bytes() == name
    assert [os.readlink(out / name) for name in ("link", "nowhere")] == ["deep/../deep/er", "not/there"]  # noqa: PTH115


def test_a_mode_of_old_is_judged_as_others(project: Path) -> None:
    """Old gits wrote 100664, and whoever crafts a tree more: of a mode the owner's x bit counts."""
    blob = git(project, "rev-parse", "HEAD:app.py")
    toml = git(project, "rev-parse", "HEAD:gapless.toml")
    entries = [("100664", b"a", blob), ("104755", b"b", blob), ("100644", b"gapless.toml", toml)]
    out = install(project, commit_tree(project, *entries))
    assert [(out / name).stat().st_mode & 0o7777 for name in "ab"] == [0o644, 0o755]


NAMES = [b"..", b".", b".git", b".GIT", b"../x", b"/etc/x", b"a/../../x", b"a//b", b"a/", b".git/config"]


@pytest.mark.parametrize("inside", [False, True], ids=["top", "inside"])
@pytest.mark.parametrize("name", NAMES)
def test_names_that_no_release_can_have(project: Path, name: bytes, inside: bool) -> None:
    """Invariant 8: a crafted name is refused before anything is written; the hint helps."""
    blob = git(project, "rev-parse", "HEAD:app.py")
    crafted = ("100644", name, blob)
    if inside:
        crafted = ("40000", b"sub", tree(project, crafted))
    refused_and_hinted(project, commit_tree(project, crafted), "git names a file that no release can have")
    assert list((project.parent / "out").iterdir()) == []


def refused_and_hinted(project: Path, revision: str, cause: str) -> None:
    """The revision is refused for the cause; what the hint names, the directory and a commit without it, are not."""
    with pytest.raises(GaplessError, match=cause) as refused:
        install(project, revision)
    assert refused.value.hint == reading.WITHOUT
    for number, named in enumerate((None, "HEAD")):
        again = project.parent / f"again{number}"
        again.mkdir()
        sources.find(project, named).install(again)
        assert (again / "app.py").exists()


def test_two_of_a_name(project: Path, tmp_path: Path) -> None:
    """Nothing is written through a link that the same revision brings."""
    victim = tmp_path / "victim"
    victim.mkdir()
    blob = git(project, "rev-parse", "HEAD:app.py")
    link = store(project, "blob", b"../victim")
    inner = tree(project, ("100644", b"f", blob))
    for entries in ([("120000", b"d", link), ("40000", b"d", inner)], [("120000", b"d", link), ("100644", b"d", blob)]):
        crafted = commit_tree(project, *entries)
        with pytest.raises(GaplessError, match=r"there are two of 'd") as refused:
            sources.find(project, crafted).install(tmp_path)
        assert refused.value.hint == reading.WITHOUT
    assert list(victim.iterdir()) == []


def test_what_is_there_is_not_written_through(project: Path, tmp_path: Path) -> None:
    """A link in the place of a directory or file of the release, whoever put it there, is not followed."""
    (project / "deep").mkdir()
    (project / "deep" / "f").write_text("x")
    commit(project)
    victim = tmp_path / "victim"
    victim.mkdir()
    for number, name in enumerate(("deep", "app.py")):
        out = tmp_path / f"out{number}"
        out.mkdir()
        (out / name).symlink_to(victim / "new" if name == "app.py" else victim)
        with pytest.raises((GaplessError, FileExistsError)):
            sources.find(project, "HEAD").install(out)
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("target", ["/etc/passwd", "../victim", "a/../../victim"])
def test_links_that_lead_out(project: Path, target: str) -> None:
    """Invariant 8: a link out of the release is named and refused, as in an archive."""
    (project / "out").symlink_to(target)
    revision = commit(project)
    git(project, "rm", "-q", "out")
    commit(project)
    refused_and_hinted(project, revision, r"its link `out` leads out of the release")


@pytest.mark.parametrize("text", [b"", b"a\0b", b"x" * 5000])
def test_links_that_are_none(project: Path, text: bytes) -> None:
    """Invariant 8: a link of no, of an impossible or of an endless text is refused by its name."""
    crafted = commit_tree(project, ("120000", b"link", store(project, "blob", text)))
    refused_and_hinted(project, crafted, "'link'")


def test_a_directory_called_a_file(project: Path) -> None:
    """Invariant 8: an entry that is not what its mode says is refused by its name."""
    inner = git(project, "rev-parse", "HEAD^{tree}")
    refused_and_hinted(project, commit_tree(project, ("100644", b"f", inner)), "'f' is no file")


@pytest.mark.parametrize("bound", ["MAX_BYTES", "MAX_MEMBERS"])
def test_a_revision_is_bounded(project: Path, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Invariant 8: a revision that would fill the disk is refused by what git says of it, not once it is there."""
    with monkeypatch.context() as patch:
        patch.setattr(budget, bound, 2)
        with pytest.raises(GaplessError, match="more than") as refused:
            install(project)
    assert refused.value.hint == reading.WITHOUT


def lie(project: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the git that reads objects say something else."""
    place = project.parent / "bin"
    place.mkdir()
    real = subprocess.run(["which", "git"], check=True, capture_output=True, text=True).stdout.strip()
    (place / "git").write_text(LIE.format(python="/usr/bin/env python3", git=real, answer=answer))
    (place / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HASH blob 99999999999999\nx", "more than 8 GiB"),
        (b"HASH blob -5\nx", "'.gitignore' is no file"),
        (b"HASH blob 100\nshort", "git ended before it had said all"),
        (b"HASH blob 4\nfour", "does not have the file 'app.py'"),
        (b"HASH missing\n", "does not have the file '.gitignore'"),
        (b"0123 blob 4\nfour\n", "does not have the file '.gitignore'"),
        (b"x" * 100_000, "does not have the file '.gitignore'"),
        (b"", "does not have the file '.gitignore'"),
    ],
)
@pytest.mark.timeout(30)
def test_a_git_that_lies(project: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, cause: str) -> None:
    """Invariant 9: whoever owns a repository may fake, kill or hold up the git that root runs as him: an error."""
    lie(project, answer, monkeypatch)
    with pytest.raises(GaplessError, match=cause):
        install(project)


def test_an_object_that_is_missing(project: Path) -> None:
    """Invariant 8: a damaged repository is said to be, and the command of the hint says the same."""
    blob = git(project, "rev-parse", "HEAD:app.py")
    (project / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(GaplessError, match=r"the repository does not have the file 'app\.py'") as refused:
        install(project)
    assert blob in said_by(refused.value.hint)


def said_by(hint: str) -> str:
    """What the first command in the hint says."""
    done = subprocess.run(shlex.split(hint.split("`")[1]), capture_output=True, text=True, check=False)
    return done.stdout


def test_a_directory_that_a_revision_does_not_have(project: Path) -> None:
    """Invariant 8: a service that is younger than the revision is not deployed as nothing; the hint lists others."""
    old = git(project, "rev-parse", "HEAD")
    service = project / "services" / "ä b"
    service.mkdir(parents=True)
    (service / "gapless.toml").write_text(CONFIG)
    young = commit(project)
    (service / "out").mkdir()
    with pytest.raises(GaplessError, match=rf"cannot read git revision {old[:7]}: there is nothing of ") as refused:
        sources.find(service, old).install(service / "out")
    assert young in said_by(refused.value.hint)
    assert old not in said_by(refused.value.hint)


def test_a_revision_without_files(project: Path) -> None:
    """An empty revision of the whole project is one: the project's gapless.toml is used."""
    out = install(project, commit_tree(project))
    assert names(out.iterdir()) == ["gapless.toml"]


def names(paths: Iterable[Path]) -> list[str]:
    return sorted(path.name for path in paths)


def test_a_few_objects_that_are_a_tree_of_any_size(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 8: a tree in a tree, again and again, is refused before it is in memory."""
    monkeypatch.setattr("gapless.release.git_run.LARGEST", 1 << 20)
    blob = git(project, "rev-parse", "HEAD:app.py")
    entries = [("100644", b"f%d" % number, blob) for number in range(10)]
    for _ in range(8):
        inner = tree(project, *entries)
        entries = [("40000", b"d%d" % number, inner) for number in range(10)]
    with pytest.raises(GaplessError, match="git's answer has more than 1 MiB"):
        install(project, commit_tree(project, *entries))
