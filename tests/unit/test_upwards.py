"""Searches upwards stop where somebody else could have put what they find; real directories, owners and groups."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.linux.upwards import upwards
from gapless.release import git, sources
from tests.support import GAPLESS

TOML = 'name = "planted"\ncommand = "true"\n'
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody else")
OTHER = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def above() -> Iterator[Path]:
    """A directory of ours with `inner/start` below it, and a gapless.toml in it."""
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:  # all above it is root's or ours
        (Path(folder) / "inner" / "start").mkdir(parents=True)
        (Path(folder) / "gapless.toml").write_text(TOML)
        yield Path(folder).resolve()


def gapless(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GAPLESS, *argv], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def config(cwd: Path, *more: str) -> str:
    """What `gapless releases` and `gapless config` say, which must agree whether there is a project."""
    needs, works_anywhere = gapless("releases", *more, cwd=cwd), gapless("config", *more, cwd=cwd)
    assert needs.returncode == works_anywhere.returncode, needs.stderr + works_anywhere.stderr
    return works_anywhere.stdout + needs.stderr


def test_what_is_ours_above_is_found(above: Path) -> None:
    """A project is found from deep inside it, as ever; so is one that its owner's own group may write."""
    assert "planted" in config(above / "inner" / "start")
    if os.getgid() == pwd.getpwuid(os.geteuid()).pw_gid and os.geteuid() == 0:
        above.chmod(0o770)
        (above / "gapless.toml").chmod(0o660)
    assert "planted" in config(above / "inner" / "start")


def spoil(what: str, above: Path) -> Path:
    """Let somebody else write above `above`/inner/start; the path that they can write to."""
    toml = above / "gapless.toml"
    if what == "sticky":
        above.chmod(0o1777)
    elif what == "anybody":
        (above / "inner").chmod(0o757)
        return above / "inner"
    elif what == "group":
        above.chmod(0o770)
        os.chown(above, -1, 100)
    elif what == "list":
        above.chmod(0o770)
        acl = b"\2\0\0\0" + b"".join(
            tag.to_bytes(2, "little") + perm.to_bytes(2, "little") + who.to_bytes(4, "little", signed=True)
            for tag, perm, who in ((1, 7, -1), (2, 7, OTHER), (4, 7, -1), (0x10, 7, -1), (0x20, 0, -1))
        )
        try:
            os.setxattr(above, "system.posix_acl_access", acl)
        except OSError as error:
            pytest.skip(f"this file system has no access control lists: {error}")
    elif what == "owner":
        os.chown(above, OTHER, -1)
    elif what == "file's owner":
        os.chown(toml, OTHER, -1)
        return toml
    elif what == "file's mode":
        toml.chmod(0o666)
        return toml
    elif what == "link's owner":
        toml.rename(above / "elsewhere")
        toml.symlink_to("elsewhere")
        os.lchown(toml, OTHER, -1)
        return toml
    return above


WAYS = ["sticky", "anybody", "file's mode"]
ROOTS = ["group", "list", "owner", "file's owner", "link's owner"]


@pytest.mark.parametrize("what", [*WAYS, *(pytest.param(one, marks=as_root) for one in ROOTS)])
def test_what_somebody_else_could_have_put_above_is_not_taken(above: Path, what: str) -> None:
    """Invariant 9: it is said where the search stopped and why; what the hint says, word for word, takes it."""
    where = spoil(what, above)
    said = config(above / "inner" / "start")
    assert "planted" not in said
    assert str(where) in said
    assert "the search stopped" in said
    options = re.search(r"pass `(-C [^`]*)`", said)
    assert options is not None, said
    assert "planted" in config(above / "inner" / "start", *shlex.split(options[1]))
    change = re.search(r"`cd ([^`]*)`", said)
    assert change is not None, said
    assert "planted" in config(Path(*shlex.split(change[1])))


@as_root
def test_the_owner_of_the_start_is_trusted(above: Path) -> None:
    """Root works in somebody's project, below it too; what belongs to a third one is not taken."""
    for path in (above, above / "gapless.toml", above / "inner", above / "inner" / "start"):
        os.chown(path, OTHER, -1)
    assert "planted" in config(above / "inner" / "start")
    os.chown(above / "inner" / "start", 1, -1)
    assert "planted" not in config(above / "inner" / "start")


def test_with_nothing_above_the_old_hint_is_given(tmp_path: Path) -> None:
    """Where the search stopped is said, and that `gapless init` makes the file."""
    said = gapless("releases", cwd=tmp_path).stderr
    assert "there is no such file" in said
    assert f"the search stopped: anybody can write to {tempfile.gettempdir()}" in said or "stopped" not in said
    if not Path(tempfile.gettempdir(), "gapless.toml").exists():
        assert "gapless init" in said


@pytest.mark.parametrize("what", ["sticky", "anybody"])
@pytest.mark.parametrize("broken", [False, True])
def test_a_repository_that_somebody_else_could_have_put_above_is_not_asked(
    above: Path, what: str, broken: bool
) -> None:
    """Its configuration would run programs as us; not even git itself goes up to it, from a .git that is none."""
    start = above / "inner" / "start"
    (start / "file").write_text("x")
    subprocess.run(["git", "init", "-q", above], check=True)
    assert git.in_work_tree(start)
    spoil(what, above)
    if broken:
        (start / ".git").mkdir()
        with pytest.raises(GaplessError, match="not a git repository"):
            sources.find(start)
    else:
        assert not git.in_work_tree(start)
        assert sources.find(start).revision == "start"


def test_the_end_is_the_first_directory_that_is_not_ours(above: Path) -> None:
    """What is above it is not looked at, however well it is kept; the start is, whoever may write to it."""
    start = above / "inner" / "start"
    start.chmod(0o777)
    assert upwards(start, "gapless.toml").directories[:3] == (start, above / "inner", above)
    (above / "inner").chmod(0o777)
    found = upwards(start, "gapless.toml")
    assert (found.directories, found.end) == ((start,), above / "inner")
    assert found.nearest("gapless.toml") is None
    (start / "gapless.toml").touch()
    assert found.nearest("gapless.toml") == start


def test_a_way_through_a_link_is_searched_where_it_leads(above: Path) -> None:
    """What is above is above the directory itself, and not above the link to it, nor beside it by a `..`."""
    elsewhere = above / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(above / "inner" / "start")
    (elsewhere / "gapless.toml").touch()
    assert upwards(elsewhere / "link", "gapless.toml").nearest("gapless.toml") == above
    assert upwards(elsewhere / ".." / "inner" / "start", "gapless.toml").nearest("gapless.toml") == above
