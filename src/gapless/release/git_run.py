"""git is run: as the owner of what it reads, and nothing that a repository names is run with it.

A repository's configuration can name programs for git to run. Root therefore asks as the repository's owner, and nobody
has a monitor, a hook or a fetch of missing objects run.
"""

from __future__ import annotations

import contextlib
import io
import os
import pwd
import select
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.upwards import upwards
from gapless.release import copying

if TYPE_CHECKING:
    from typing_extensions import Buffer

# A git hook sets these, and they would turn every question to the hook's repository and index.
HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_QUARANTINE_PATH"}
SUDO = {"SUDO_UID", "SUDO_GID"}  # root's git would trust the repositories of that user
KEPT = {"PATH", "TZ"}  # what git sees of root's variables when it runs as somebody else
OFF = (
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    "safe.bareRepository=explicit",  # a directory of the project that looks like a repository is none
)
NOTHING = "GAPLESS_NOTHING"  # a variable, from which git's settings take their values
DEEPEST = 3  # a worktree of a submodule's repository
LONGEST = 1 << 16  # bytes of a path, or of a reason
LARGEST = 128 << 20  # bytes of an answer: a few objects can be a tree of any size
SILENT = 120.0  # seconds without a word: `git diff` reads every file of a large project before its first one
WITHIN = 1800.0  # seconds for a whole answer
NOBODY = 65534  # the group of an owner without an account


def ask(directory: Path, *question: str, none: int = 0) -> bytes | None:
    """git's answer, or None when it exits with the status `none`. Raises GaplessError."""
    done = run(directory, question)
    if none and done.returncode == none:
        return None
    if done.returncode != 0:
        raise failed(directory, done.stderr)
    return done.stdout


def run(directory: Path, question: Iterable[str], settings: Iterable[str] = ()) -> subprocess.CompletedProcess[bytes]:
    """Run git about `directory`, as its repository's owner when we are root. Raises GaplessError."""
    argv, options = _command(directory)
    with tempfile.TemporaryFile() as said:
        options |= {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": said}
        with _started(directory):
            process = subprocess.Popen([*argv, *settings, *question], **options)
        with process, _answer(process, directory) as stream:
            answer = stream.read(LARGEST + 1)
            if len(answer) > LARGEST:
                raise GaplessError("read", str(directory), f"git's answer has more than {LARGEST >> 20} MiB")
            with contextlib.suppress(subprocess.TimeoutExpired):  # it has said all, but may be kept from ending
                process.wait(SILENT)
        said.seek(0)
        return subprocess.CompletedProcess(process.args, process.returncode, answer, said.read(LONGEST))


class _Answer(io.RawIOBase):
    """What `process` writes about `directory`, waited for SILENT seconds at a time and WITHIN in all.

    It runs as the repository's owner, who can stop it, or make it do something else. Raises GaplessError.
    """

    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        assert process.stdout is not None  # noqa: S101 -- for the type checker: it is a pipe
        self._pipe = process.stdout.fileno()
        self._directory = directory
        self._deadline = time.monotonic() + WITHIN

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        waiting = select.poll()
        waiting.register(self._pipe, select.POLLIN)
        left = self._deadline - time.monotonic()
        if left <= 0 or not waiting.poll(min(left, SILENT) * 1000):
            what = f"git was silent for {SILENT:g} s" if left > SILENT else f"git took longer than {WITHIN:g} s"
            hint = f"{command(self._directory, 'status')} shows whether it hangs there, too"
            raise GaplessError("read", str(self._directory), what, hint)
        return os.readv(self._pipe, [buffer])


@contextlib.contextmanager
def _answer(process: subprocess.Popen[bytes], directory: Path) -> Iterator[IO[bytes]]:
    """Give what `process` writes; it and its whole session have ended after the block."""
    try:
        yield io.BufferedReader(_Answer(process, directory), 1 << 16)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def objects(directory: Path, commit: str, asked: IO[bytes]) -> Iterator[IO[bytes]]:
    """What `git cat-file --batch` answers to the hashes in the file `asked`, as it comes; they are of `commit`.

    Who reads raises EOFError where something is missing; git's own reason then goes to whom it may concern.
    Raises GaplessError.
    """
    argv, options = _command(directory)
    with tempfile.TemporaryFile() as said:
        options |= {"stdin": asked, "stdout": subprocess.PIPE, "stderr": said}
        with _started(directory):
            process = subprocess.Popen([*argv, "cat-file", "--batch", "--buffer"], **options)
        missing = ""
        with process, _answer(process, directory) as stream:
            try:
                yield stream
            except EOFError as error:
                missing = str(error)
        if missing:
            said.seek(0)
            raise failed(directory, said.read(LONGEST), commit, missing)


@contextlib.contextmanager
def _started(directory: Path) -> Iterator[None]:
    """Raise GaplessError where git cannot be started inside."""
    try:
        yield
    except FileNotFoundError:
        raise GaplessError("read", str(directory), "git is not installed", "install git") from None
    except OSError as error:
        raise refusal("ask git about", str(directory), error) from error


def _command(directory: Path) -> tuple[list[str], dict[str, Any]]:
    """How git is started about `directory`: the beginning of its argv, and what Popen is told."""
    options: dict[str, Any] = {"env": {name: value for name, value in os.environ.items() if name not in HOOK}}
    fixed: tuple[str, ...] = OFF
    if os.geteuid() == 0:
        fixed = (*OFF, "safe.directory=")  # git itself refuses what became somebody else's since we looked
        options = _as_owner(owner(directory), options["env"])
    options["env"] |= {
        "LC_ALL": "C.UTF-8",  # what it says is looked at, see `failed`
        "LANGUAGE": "",
        "GIT_OPTIONAL_LOCKS": "0",  # a user's git could run into a lock
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",  # for a git that does not know the line above
        NOTHING: "",
    }
    if end := upwards(directory, ".git").end:  # git itself would go on upwards from a .git that is none
        ceilings = [str(end), os.environ.get("GIT_CEILING_DIRECTORIES", "")]
        options["env"]["GIT_CEILING_DIRECTORIES"] = os.pathsep.join(ceilings)
    # A session of its own: what a foreign repository starts after all has no terminal, and no job of ours to signal.
    options |= {"start_new_session": True, "cwd": "/"}
    off = [part for setting in fixed for part in ("-c", setting)]
    return ["git", "-C", str(directory.absolute()), *off], options


def owner(directory: Path) -> int:
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


def command(directory: Path, *argv: str) -> str:
    """What people type to have git do something about `directory`, and as whom if that is somebody else."""
    typed, uid = shlex.join(["git", "-C", str(directory.absolute()), *argv]), owner(directory)
    return f"`{typed}`" if uid == os.geteuid() else f"`{typed}` as user {uid}"


def failed(directory: Path, stderr: bytes, revision: str = "HEAD", silent: str = "") -> GaplessError:
    """What git said, as the cause; `silent` is the cause where it said nothing."""
    said = [line for line in stderr.decode(errors="replace").splitlines() if line and not line.startswith("warning:")]
    cause, details, hint = (
        (said or [silent or "git failed and said nothing"])[0].removeprefix("fatal: "),
        tuple(said[1:]),
        "",
    )
    if b"lazy fetching" in stderr or b"fatal: transport" in stderr:
        fetch = f"`git -C {directory.absolute()} archive {revision} > /dev/null`"
        hint = f"it is a partial clone: as its owner, {fetch} fetches what is missing"
    elif os.geteuid() == 0 and ("dubious ownership" in cause or "ermission denied" in cause):
        uid = owner(directory)
        hint = f"for root git runs as user {uid}, who owns a part of it: `chown -R` it to one user, who can go there"
        details = ()  # git's own advice, safe.directory, is not what root should follow
    elif silent:
        hint = f"{command(directory, 'fsck')} lists what is missing; a fresh clone has it"
    return GaplessError("read", str(directory), cause, hint, details=details)
