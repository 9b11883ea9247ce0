"""Write a revision of the project as git's objects have it: no filter, attribute or setting comes in between.

The repository may be somebody else's, and what it says a lie: names and sizes are judged here.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from gapless.errors import GaplessError
from gapless.release import copying, git, git_run
from gapless.release.archive import check_links
from gapless.release.budget import MAX_MEMBERS, Budget
from gapless.release.pointers import PULL, refuse_pointers, some

ENTRY = re.compile(rb"(\d{6}) [a-z]+ ([0-9a-f]{40,64})\t(.+)", re.DOTALL)
LONGEST = 4096  # bytes of what a link says
NO_NAME = {"", ".", ".."}
WITHOUT = "commit the project without it"


@dataclass(frozen=True)
class Entry:
    """A file or a link of a revision, with the hash of what it holds."""

    name: str
    mode: int
    hash: bytes


def checkout(project: Path, commit: str, target: Path) -> None:
    """Fill the empty `target` with `project` at `commit`. A directory that would be empty is none for git.

    Raises GaplessError, where a file only stands in for what the revision does not hold, too.
    """
    budget = Budget(lambda cause: _unsafe(commit, cause))
    entries = _entries(project, commit)
    _refuse_submodules(project, commit, entries)
    with tempfile.TemporaryFile() as asked:  # it has no name: a kill leaves nothing
        asked.writelines(entry.hash + b"\n" for entry in entries)
        asked.seek(0)
        with git_run.objects(project, commit, asked) as answers:
            for entry in entries:
                _write(entry, answers, target, commit, budget)
    check_links(target, commit[:7], WITHOUT)
    refuse_pointers(target, f"git revision {commit[:7]}", lambda _: _as_directory(project, commit, *PULL))


def _entries(project: Path, commit: str) -> list[Entry]:
    """What of `commit` is in the directory `project`. Raises GaplessError."""
    answer = git_run.ask(project, "ls-tree", "-r", "-z", commit) or b""
    if not answer and git_run.ask(project, "rev-parse", "--show-prefix") != b"\n":
        cause = f"there is nothing of {project} in it"
        hint = f"{git_run.command(project, 'log', '--', '.')} lists the revisions that have something"
        raise GaplessError("read", f"git revision {commit[:7]}", cause, hint)
    if answer.count(b"\0") > MAX_MEMBERS:
        raise _unsafe(commit, f"it has more than {MAX_MEMBERS} files")
    entries, seen = [], set[str]()
    for line in answer.split(b"\0")[:-1]:
        found = ENTRY.fullmatch(line)
        name = os.fsdecode(found[3]) if found else ""
        parts = name.split("/")
        if found is None or NO_NAME & {*parts} or any(part.lower() == ".git" for part in parts):
            raise _unsafe(commit, f"git names a file that no release can have: {os.fsdecode(line)!r}")
        if name in seen or seen & {str(parent) for parent in PurePosixPath(name).parents}:
            raise _unsafe(commit, f"there are two of {name!r}")
        seen.add(name)
        entries.append(Entry(name, int(found[1], 8), found[2]))
    return entries


def _refuse_submodules(project: Path, commit: str, entries: list[Entry]) -> None:
    names = [entry.name for entry in entries if f"{entry.mode:o}" == git.SUBMODULE]
    if names:
        cause = f"a revision does not hold the files of its submodules: {some(names)}"
        hint = _as_directory(project, commit, "submodule update --init --recursive")
        raise GaplessError("read", f"git revision {commit[:7]}", cause, hint)


def _as_directory(project: Path, commit: str, *commands: str) -> str:
    typed = [git_run.command(project, *one.split()) for one in (f"checkout {commit[:7]}", *commands)]
    return f"{', then '.join(typed)}, and deploy the directory, without a revision"


def _write(entry: Entry, answers: IO[bytes], target: Path, commit: str, budget: Budget) -> None:
    """Write what `answers` goes on with. Raises EOFError where the repository lacks it."""
    size = _size(entry, answers, commit)
    budget.enter(entry.name, size)
    if stat.S_ISREG(entry.mode):
        with copying.created(target, entry.name, entry.mode) as file:
            _copy(answers, file, size)
    elif stat.S_ISLNK(entry.mode) and size <= LONGEST:
        text = answers.read(size)
        if not text or b"\0" in text:
            raise _unsafe(commit, f"the link {entry.name!r} leads nowhere")
        copying.link(target, entry.name, text)
    else:
        raise _unsafe(commit, f"{entry.name!r} is neither a file nor a link")
    answers.read(1)  # a line feed


def _size(entry: Entry, answers: IO[bytes], commit: str) -> int:
    """The size of the object that follows, which has to be the one of `entry`."""
    line = answers.readline(LONGEST)
    said = line.split()
    if said[:1] != [entry.hash] or said[1:] == [b"missing"]:
        raise EOFError(f"the repository does not have the file {entry.name!r}")
    if len(said) != 3 or said[1] != b"blob" or not said[2].isdigit():
        raise _unsafe(commit, f"{entry.name!r} is no file: {os.fsdecode(line).strip()}")
    return int(said[2])


def _copy(answers: IO[bytes], file: IO[bytes], size: int) -> None:
    while size:
        part = answers.read(min(size, 1 << 20))
        if not part:
            raise EOFError("git ended before it had said all")
        file.write(part)
        size -= len(part)


def _unsafe(commit: str, cause: str) -> GaplessError:
    return GaplessError("read", f"git revision {commit[:7]}", cause, WITHOUT)
