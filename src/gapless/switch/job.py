"""What a release runs once, and is waited for: its build and its migration."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from gapless.config.settings import Sandbox
from gapless.errors import GaplessError
from gapless.linux import signals
from gapless.linux.files import tail
from gapless.switch.symptoms import of_sandbox

# What programs say when a file may not be written: the system's words, Node's, Python's, a shell's, SQLite's.
REFUSED = (
    *("Read-only file system", "EROFS", "[Errno 13] Permission denied: '", "cannot create ", "cannot touch "),
    *("unable to open database file", "attempt to write a readonly database"),
)


NOT_EXECUTED = 127  # as the shell exits


class Kind(enum.StrEnum):
    """What a command of a release is for: it decides what the command may write."""

    BUILD = "build"  # the release itself, and the caches
    COMPILE = "compilation"  # as a build
    MIGRATION = "migration"  # what the server may write


class Jobs(Protocol):
    """Runs the commands of a release one after the other, each with its output in the release's log."""

    def run(self, kind: Kind, argv: Sequence[str], release: str, timeout: float) -> None:
        """Run `argv` and wait, `timeout` seconds at most, until it and all that it started has ended.

        Raises GaplessError with the last lines of the log when it fails. Ctrl-C ends it, too.
        """

    def under_way(self) -> str:
        """What a killed deployer's command still does, in words; empty when there is none.

        Of its builds nothing goes on when this returns: they are ended, and waited for.
        """


def how_it_ended(status: int) -> str:
    """Say how a command ended that failed: with an exit status, or by signal -`status`."""
    if status > 0:
        return f"it exited with status {status}"
    return f"it was ended by {signals.name(-status)}"


def out_of_memory(table: str, limit: str) -> str:
    """Say that the kernel killed a command of the release which took too much; `table` may have set a `limit`."""
    return f"it was killed: out of memory{f' ([{table}] memory = {limit})' if limit else ''}"


def failure(kind: Kind, release: str, log: Path, cause: str, sandbox: Sandbox | None = None) -> GaplessError:
    """The error of a command that failed, in `sandbox` if there is one: what it wrote last is among its details."""
    last = tail(log)
    hint = of_sealed(last)
    if hint and kind is Kind.BUILD:
        hint = "a build writes its release and, for what is to stay, $HOME; the app's data is for a migration; "
    elif last and last[-1].endswith(": not found"):  # the shell's words
        hint = "install that program for all users: under systemd nothing in /root or /home is seen; "
    hint += of_sandbox(last, sandbox)
    return GaplessError(f"run the {kind} of", release, cause, f"{hint}all its output: {log}", details=last)


def of_sealed(lines: Iterable[str]) -> str:
    """The part of a hint that is due when `lines` of a program tell of a write which was refused; else empty."""
    if not any(sign in line for line in lines for sign in REFUSED):
        return ""
    return "a release cannot be written, and what the app keeps belongs into $GAPLESS_SHARED; "
