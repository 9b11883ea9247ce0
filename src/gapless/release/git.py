"""git, asked about the project: what is in it, at which revision."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from gapless.errors import GaplessError

# A git hook sets these, and they would turn every question to the hook's repository and index.
HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_QUARANTINE_PATH"}
# What no release wants, even where .gitignore does not name it (files that git tracks come anyway).
NEVER = (".git", ".gapless", ".venv", "__pycache__")


def environment() -> dict[str, str]:
    """os.environ for git: no hook's repository, and no lock taken that a user's git could run into."""
    return {key: value for key, value in os.environ.items() if key not in HOOK} | {"GIT_OPTIONAL_LOCKS": "0"}


def in_work_tree(directory: Path) -> bool:
    """Whether git is responsible for `directory`; by the name alone, so that a git that fails is an error."""
    absolute = directory.absolute()
    return any((parent / ".git").exists() for parent in (absolute, *absolute.parents))


def ask(directory: Path, *question: str, none: int = 0) -> bytes | None:
    """git's answer, or None when it exits with the status `none`. Raises GaplessError."""
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *question], env=environment(), capture_output=True, check=False
        )
    except FileNotFoundError:
        raise GaplessError("read", str(directory), "git is not installed", "install git") from None
    if none and done.returncode == none:
        return None
    if done.returncode != 0:
        raise failed(directory, done.stderr)
    return done.stdout


def failed(directory: Path, stderr: bytes) -> GaplessError:
    """What git said, as the cause."""
    said = stderr.decode(errors="replace").strip().splitlines() or ["git failed and said nothing"]
    return GaplessError("read", str(directory), said[0].removeprefix("fatal: "), details=tuple(said[1:]))


def files(directory: Path) -> tuple[list[str], bool]:
    """The files below `directory` as git sees it (relative names), and whether they differ from HEAD's.

    Submodules and repositories inside come with their files; what was deleted does not come.
    """
    tracked = _list(directory, "--cached")
    others = _list(directory, "--others", "--exclude-standard", *(f"--exclude={name}" for name in NEVER))
    head = ask(directory, "rev-parse", "--verify", "--quiet", "HEAD", none=1)
    changed = bool(others) or head is None or ask(directory, "diff", "--quiet", "HEAD", "--", ".", none=1) is None
    names = set()
    for name in (*tracked, *others):
        path = directory / name
        if any((directory / parent).is_symlink() for parent in Path(name).parents[:-1]):
            continue  # its directory became a link: git lists the link too
        if path.is_symlink() or path.is_file():
            names.add(name)
        elif (path / ".git").exists():
            names.update(f"{name.rstrip('/')}/{inner}" for inner in files(path)[0])
    return sorted(names), changed


def _list(directory: Path, *which: str) -> list[str]:
    answer = ask(directory, "ls-files", "-z", *which) or b""
    return [os.fsdecode(name) for name in answer.split(b"\0") if name]


def head(directory: Path) -> tuple[str, str]:
    """HEAD's commit and the branch's name; either is empty where there is none."""
    commit = ask(directory, "rev-parse", "--verify", "--quiet", "HEAD", none=1) or b""
    branch = ask(directory, "symbolic-ref", "--short", "--quiet", "HEAD", none=1) or b""
    return commit.decode().strip(), branch.decode().strip()


def commit(directory: Path, revision: str) -> str | None:
    """The full hash of the commit that `revision` names, or None."""
    name = f"{revision}^{{commit}}"
    answer = ask(directory, "rev-parse", "--verify", "--quiet", "--end-of-options", name, none=1)
    return answer.decode().strip() if answer else None


def export(directory: Path, commit: str, output: int) -> None:
    """Write `commit` as a tar archive to the file descriptor `output`. Raises GaplessError."""
    argv = ["git", "-C", str(directory), "archive", "--format=tar", commit]
    done = subprocess.run(argv, env=environment(), stdout=output, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise failed(directory, done.stderr)
