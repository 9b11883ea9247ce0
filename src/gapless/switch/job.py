"""What a release runs once, and is waited for: its build and its migration."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from gapless.errors import GaplessError
from gapless.linux.files import tail


class Kind(enum.StrEnum):
    """What a command of a release is for: it decides what the command may write."""

    BUILD = "build"  # the release itself, and the caches
    COMPILE = "compilation"  # the same
    MIGRATION = "migration"  # what the server may write


class Jobs(Protocol):
    """Runs the commands of a release one after the other, each with its output in the release's log."""

    def run(self, kind: Kind, argv: Sequence[str], release: str, timeout: float) -> None:
        """Run `argv` and wait, `timeout` seconds at most, until it and all that it started has ended.

        Raises GaplessError with the last lines of the log when it fails. Ctrl-C ends it, too.
        """

    def under_way(self) -> str:
        """What a killed deployer's command still does, in words; empty when there is none."""

    def end(self) -> None:
        """End what is left of the commands of a killed deployer that must not go on, and wait for that."""


def failure(kind: Kind, release: str, log: Path, cause: str, hint: str = "") -> GaplessError:
    """The error of a command that failed: what it wrote last is among its details."""
    hint = "; ".join(filter(None, [hint, f"all its output: {log}"]))
    return GaplessError(f"run the {kind} of", release, cause, hint, details=tail(log))
