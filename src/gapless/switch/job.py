"""What a release runs once, and is waited for: its build, its migration, its hooks."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gapless.errors import GaplessError
from gapless.linux import signals
from gapless.linux.files import tail

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
    HOOK = "hook"  # as a migration

    @property
    def builds(self) -> bool:
        """Whether the command makes a release, as the account of its builds."""
        return self in {Kind.BUILD, Kind.COMPILE}


@dataclass(frozen=True)
class Told:
    """What the hook `name` is told: `variables` beside those of its release, and `text` on its standard input."""

    name: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


NOTHING = Told()


class Jobs(Protocol):
    """Runs the commands of a release one after the other, each with its output in the release's log."""

    def run(self, kind: Kind, argv: Sequence[str], release: str, timeout: float, told: Told = NOTHING) -> None:
        """Run `argv` and wait, `timeout` seconds at most, until it and all that it started has ended.

        A hook is `told` why. Raises GaplessError with the last lines of the log when it fails. Ctrl-C ends it, too.
        """

    def under_way(self) -> str:
        """What a killed deployer's command still does, in words; empty when there is none.

        Of all but a migration nothing goes on when this returns: it is ended, and waited for.
        """


def how_it_ended(status: int) -> str:
    """Say how a command ended that failed: with an exit status, or by signal -`status`."""
    if status > 0:
        return f"it exited with status {status}"
    return f"it was ended by {signals.name(-status)}"


def out_of_memory(table: str, limit: str) -> str:
    """Say that the kernel killed a command of the release which took too much; `table` may have set a `limit`."""
    return f"it was killed: out of memory{f' ([{table}] memory = {limit})' if limit else ''}"


def failure(kind: Kind, release: str, log: Path, cause: str, name: str = "") -> GaplessError:
    """The error of a command that failed, called `name`: what it wrote last is among its details."""
    last = tail(log)
    hint = of_sealed(last)
    if hint and kind is Kind.BUILD:
        hint = "a build writes its release and, for what is to stay, $HOME; the app's data is for a migration; "
    elif last and last[-1].endswith(": not found"):  # the shell's words
        hint = "install that program for all users: under systemd nothing in /root or /home is seen; "
    what = f"{kind} {name}".rstrip()
    return GaplessError(f"run the {what} of", release, cause, f"{hint}all its output: {log}", details=last)


def of_sealed(lines: Iterable[str]) -> str:
    """The part of a hint that is due when `lines` of a program tell of a write which was refused; else empty."""
    if not any(sign in line for line in lines for sign in REFUSED):
        return ""
    return "a release cannot be written, and what the app keeps belongs into $GAPLESS_SHARED; "
