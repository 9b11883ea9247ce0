"""git, asked about the project: what is in it, at which revision. What it reads may be somebody else's.

Whether a file changed is for filters (git-lfs is one) to say in a repository that belongs to whoever asks: they are his
own programs. In a foreign one they are off, and for root in every one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from gapless.errors import GaplessError
from gapless.linux.upwards import upwards
from gapless.release.git_run import NOTHING, ask, command, failed, owner, run
from gapless.release.pointers import some

# What no release wants, even where .gitignore does not name it (files that git tracks come anyway).
NEVER = (".git", ".gapless", ".venv", "__pycache__")
HASH = re.compile(rb"[0-9a-f]{40,64}\n")
SUBMODULE = "160000"  # its mode


def in_work_tree(directory: Path) -> bool:
    """Whether git is responsible for `directory`; by the name alone, so that a git that fails is an error."""
    return upwards(directory, ".git").nearest(".git") is not None


def files(directory: Path) -> tuple[list[str], bool]:
    """The files below `directory` as git sees it (relative names), and whether they differ from HEAD's.

    Submodules and repositories inside come with their files; what was deleted does not come.
    Raises GaplessError, also for a submodule that is not checked out: there would be nothing of it.
    """
    tracked = _tracked(directory)
    others = untracked(directory)
    head = ask(directory, "rev-parse", "--verify", "--quiet", "HEAD", none=1)
    changed = bool(others) or head is None or _differs(directory)
    names, missing = set(), []
    for name in (*tracked, *others):
        path = directory / name
        if any((directory / parent).is_symlink() for parent in Path(name).parents[:-1]):
            continue  # its directory became a link: git lists the link too
        if path.is_symlink() or path.is_file():
            names.add(name)
        elif (path / ".git").exists():
            inner, inner_changed = files(path)
            names.update(f"{name.rstrip('/')}/{one}" for one in inner)
            changed = changed or inner_changed
        elif tracked.get(name) == SUBMODULE:
            missing.append(name)
    if missing:
        update = command(directory, "submodule", "update", "--init")
        forget = command(directory, "rm", "--cached", *missing)
        hint = f"{update} does it, where .gitmodules says whence; {forget} makes git forget them"
        raise GaplessError("read", str(directory), f"its submodules are not checked out: {some(missing)}", hint)
    return sorted(names), changed


def _without_filters(directory: Path) -> list[str]:
    """Settings that turn a repository's filters off: for root always, since one may unpack a stranger's as root."""
    if owner(directory) == os.geteuid() != 0:
        return []
    answer = ask(directory, "config", "-z", "--name-only", "--get-regexp", r"^filter\.", none=1) or b""
    # A driver's name may hold anything, also "=": --config-env takes the last one for its own.
    drivers = {os.fsdecode(name).rpartition(".")[0] for name in answer.split(b"\0") if name}
    parts = ("clean", "smudge", "process", "required")
    return [f"--config-env={driver}.{part}={NOTHING}" for driver in sorted(drivers) for part in parts]


def _differs(directory: Path) -> bool:
    """Whether a tracked file is not HEAD's; of a submodule its commit alone, since git would look into it as we are."""
    question = ("diff", "--quiet", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", "HEAD", "--", ".")
    done = run(directory, question, _without_filters(directory))
    if done.returncode not in (0, 1):
        raise failed(directory, done.stderr)
    return done.returncode == 1


def _tracked(directory: Path) -> dict[str, str]:
    """What git tracks below `directory`, each with its mode in the index."""
    lines = [line.partition("\t") for line in _list(directory, "--stage")]
    names = {name: said.partition(" ")[0] for said, _, name in lines}
    _refuse_outside(directory, names)
    return names


def untracked(directory: Path) -> list[str]:
    """What is in `directory`, and git neither tracks nor ignores. Raises GaplessError."""
    names = _list(directory, "--others", "--exclude-standard", *(f"--exclude={name}" for name in NEVER))
    _refuse_outside(directory, names)
    return names


def ignored(directory: Path) -> list[str]:
    """What git ignores below `directory`; of a directory that it ignores whole, the name alone. Raises GaplessError."""
    names = _list(directory, "--others", "--ignored", "--exclude-standard", "--directory")
    return [name.rstrip("/") for name in names if Path(name).name not in NEVER]


def _list(directory: Path, *which: str) -> list[str]:
    answer = ask(directory, "ls-files", "-z", *which) or b""
    return [os.fsdecode(line) for line in answer.split(b"\0") if line]


def _refuse_outside(directory: Path, names: Iterable[str]) -> None:
    for name in names:
        if name.startswith("/") or ".." in name.split("/"):
            cause = f"git names a file outside of it: {name!r}"
            raise GaplessError("read", str(directory), cause, f"`git -C {directory} reset` makes its index anew")


def head(directory: Path) -> tuple[str, str]:
    """HEAD's commit and the branch's name; either is empty where there is none."""
    commit = _hash(directory, ask(directory, "rev-parse", "--verify", "--quiet", "HEAD", none=1))
    branch = ask(directory, "symbolic-ref", "--short", "--quiet", "HEAD", none=1) or b""
    return commit, branch.decode().strip()


def commit(directory: Path, revision: str) -> str | None:
    """The full hash of the commit that `revision` names, or None."""
    name = f"{revision}^{{commit}}"
    answer = ask(directory, "rev-parse", "--verify", "--quiet", "--end-of-options", name, none=1)
    return _hash(directory, answer) or None


def _hash(directory: Path, answer: bytes | None) -> str:
    """The hash that git answered, of which a release gets its name: who owns the repository may answer in its place."""
    if answer and not HASH.fullmatch(answer):
        raise GaplessError("read", str(directory), f"git answers with {answer[:100]!r}, which is no commit's hash")
    return (answer or b"").decode().strip()
