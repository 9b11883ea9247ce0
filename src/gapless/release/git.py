"""git, asked about the project: what is in it, at which revision. What it reads may be somebody else's.

A repository's configuration can name programs for git to run. Root therefore asks as the repository's owner, and nobody
has a monitor, a hook, another diff, a signature's check or a fetch of missing objects run. Filters (git-lfs is one)
stay in a repository that belongs to whoever asks: they are his own programs. In a foreign one they are off; a revision
whose files need them is refused, since it would be deployed with what stands in for them.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.upwards import upwards
from gapless.release import copying

# A git hook sets these, and they would turn every question to the hook's repository and index.
HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_QUARANTINE_PATH"}
SUDO = {"SUDO_UID", "SUDO_GID"}  # root's git would trust the repositories of that user
KEPT = {"PATH", "TZ"}  # what git sees of root's variables when it runs as somebody else
# What no release wants, even where .gitignore does not name it (files that git tracks come anyway).
NEVER = (".git", ".gapless", ".venv", "__pycache__")
OFF = (
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    "safe.bareRepository=explicit",  # a directory of the project that looks like a repository is none
    *(
        f"gpg.{kind}program=false" for kind in ("", "openpgp.", "x509.", "ssh.")
    ),  # export-subst asks for them (git 2.41)
)
NOTHING, REQUIRED = "GAPLESS_NOTHING", "GAPLESS_REQUIRED"  # variables, from which git's settings take their values
DEEPEST = 3  # a worktree of a submodule's repository
LONGEST = 1 << 16  # bytes of a path
NOBODY = 65534  # the group of an owner without an account


def in_work_tree(directory: Path) -> bool:
    """Whether git is responsible for `directory`; by the name alone, so that a git that fails is an error."""
    return upwards(directory, ".git").nearest(".git") is not None


def ask(directory: Path, *question: str, none: int = 0) -> bytes | None:
    """git's answer, or None when it exits with the status `none`. Raises GaplessError."""
    done = _run(directory, question)
    if none and done.returncode == none:
        return None
    if done.returncode != 0:
        raise _failed(directory, done.stderr)
    return done.stdout


def _run(
    directory: Path, question: Iterable[str], settings: Iterable[str] = (), output: int = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    """Run git about `directory`, as its repository's owner when we are root. Raises GaplessError."""
    options: dict[str, Any] = {"env": {name: value for name, value in os.environ.items() if name not in HOOK}}
    fixed = OFF
    if os.geteuid() == 0:
        fixed = (*OFF, "safe.directory=")  # git itself refuses what became somebody else's since we looked
        options = _as_owner(_owner(directory), options["env"])
    options["env"] |= {
        "LC_ALL": "C.UTF-8",  # what it says is looked at, see `_failed`
        "LANGUAGE": "",
        "GIT_OPTIONAL_LOCKS": "0",  # a user's git could run into a lock
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",  # for a git that does not know the line above
        NOTHING: "",
        REQUIRED: "true",
    }
    if end := upwards(directory, ".git").end:  # git itself would go on upwards from a .git that is none
        ceilings = [str(end), os.environ.get("GIT_CEILING_DIRECTORIES", "")]
        options["env"]["GIT_CEILING_DIRECTORIES"] = os.pathsep.join(ceilings)
    # A session of its own: what a foreign repository starts after all has no terminal, and no job of ours to signal.
    options |= {
        "start_new_session": True,
        "cwd": "/",
        "stdin": subprocess.DEVNULL,
        "stdout": output,
        "stderr": subprocess.PIPE,
        "check": False,
    }
    off = [part for setting in fixed for part in ("-c", setting)]
    try:
        return subprocess.run(["git", "-C", str(directory.absolute()), *off, *settings, *question], **options)
    except FileNotFoundError:
        raise GaplessError("read", str(directory), "git is not installed", "install git") from None
    except OSError as error:
        raise refusal("ask git about", str(directory), error) from error


def _owner(directory: Path) -> int:
    """Whose the repository of `directory` is: ours if all of it is, else whoever else has a part of it."""
    directory = directory.absolute()
    top = upwards(directory, ".git").nearest(".git") or directory
    for part in (directory, top, *_parts(top / ".git")):
        with contextlib.suppress(OSError):  # it is not there, say; git will tell
            if (uid := part.stat().st_uid) != os.geteuid():
                return uid
    return os.geteuid()


def _parts(git: Path, depth: int = 0) -> list[Path]:
    """What git reads a repository's settings from; of a linked worktree or a submodule they are elsewhere."""
    found = [git, git / "config", git / "config.worktree", git / "info/attributes"]
    if depth < DEEPEST:
        for file, prefix in ((git, "gitdir:"), (git / "commondir", "")):
            said = _line(file)
            if said.startswith(prefix) and said:
                found += _parts((file.parent / said.removeprefix(prefix).strip()).resolve(), depth + 1)
    return found


def _line(file: Path) -> str:
    """What a small file says; nothing of a directory, a pipe, or a file that is not there."""
    with contextlib.suppress(OSError, GaplessError), copying.opened(file.parent, file.name) as opened:
        return os.fsdecode(opened.read(LONGEST)).strip()
    return ""


def _as_owner(uid: int, env: dict[str, str]) -> dict[str, Any]:
    """What makes root's Popen run git as `uid`, with nothing of root's; as root with `env`, less sudo's."""
    if uid == 0:
        return {"env": {name: value for name, value in env.items() if name not in SUDO}}
    kept = {name: value for name, value in env.items() if name in KEPT}
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        kept |= {"HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": os.devnull}
        return {"user": uid, "group": NOBODY, "extra_groups": [], "env": kept}
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    return {"user": uid, "group": user.pw_gid, "extra_groups": groups, "env": kept | {"HOME": user.pw_dir}}


def _without_filters(directory: Path, *, required: bool) -> list[str]:
    """Settings that turn a foreign repository's filters off; if `required`, git fails on a file that has one."""
    if _owner(directory) == os.geteuid():
        return []
    answer = ask(directory, "config", "-z", "--name-only", "--get-regexp", r"^filter\.", none=1) or b""
    # A driver's name may hold anything, also "=": --config-env takes the last one for its own.
    drivers = {os.fsdecode(name).rpartition(".")[0] for name in answer.split(b"\0") if name}
    return [
        setting
        for driver in sorted(drivers)
        for setting in (
            *(f"--config-env={driver}.{program}={NOTHING}" for program in ("clean", "smudge", "process")),
            f"--config-env={driver}.required={REQUIRED if required else NOTHING}",
        )
    ]


def _failed(directory: Path, stderr: bytes, revision: str = "HEAD") -> GaplessError:
    """What git said, as the cause."""
    said = [line for line in stderr.decode(errors="replace").splitlines() if line and not line.startswith("warning:")]
    cause, details, hint = (said or ["git failed and said nothing"])[0].removeprefix("fatal: "), tuple(said[1:]), ""
    if b"lazy fetching" in stderr or b"fatal: transport" in stderr:
        fetch = f"`git -C {directory.absolute()} archive {revision} > /dev/null`"
        hint = f"it is a partial clone: as its owner, {fetch} fetches what is missing"
    elif os.geteuid() == 0 and ("dubious ownership" in cause or "ermission denied" in cause):
        owner = _owner(directory)
        hint = f"for root git runs as user {owner}, who owns a part of it: `chown -R` it to one user, who can go there"
        details = ()  # git's own advice, safe.directory, is not what root should follow
    return GaplessError("read", str(directory), cause, hint, details=details)


def files(directory: Path) -> tuple[list[str], bool]:
    """The files below `directory` as git sees it (relative names), and whether they differ from HEAD's.

    Submodules and repositories inside come with their files; what was deleted does not come.
    """
    tracked = _list(directory, "--cached")
    others = _list(directory, "--others", "--exclude-standard", *(f"--exclude={name}" for name in NEVER))
    head = ask(directory, "rev-parse", "--verify", "--quiet", "HEAD", none=1)
    changed = bool(others) or head is None or _differs(directory)
    names = set()
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
    return sorted(names), changed


def _differs(directory: Path) -> bool:
    """Whether a tracked file is not HEAD's; of a submodule its commit alone, since git would look into it as we are."""
    question = ("diff", "--quiet", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", "HEAD", "--", ".")
    done = _run(directory, question, _without_filters(directory, required=False))
    if done.returncode not in (0, 1):
        raise _failed(directory, done.stderr)
    return done.returncode == 1


def _list(directory: Path, *which: str) -> list[str]:
    answer = ask(directory, "ls-files", "-z", *which) or b""
    names = [os.fsdecode(name) for name in answer.split(b"\0") if name]
    for name in names:
        if name.startswith("/") or ".." in name.split("/"):
            cause = f"git names a file outside of it: {name!r}"
            raise GaplessError("read", str(directory), cause, f"`git -C {directory} reset` makes its index anew")
    return names


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
    settings = _without_filters(directory, required=True)
    done = _run(directory, ("archive", "--format=tar", commit), settings, output)
    if done.returncode != 0:
        failed = _failed(directory, done.stderr, commit)
        if settings and b"smudge filter " in done.stderr:
            failed.hint = "its owner's filters are not run for others: deploy the directory itself, without a revision"
        raise failed
