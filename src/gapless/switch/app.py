"""What commands ask of an app beyond its manager's contract, whichever manager has the app."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from gapless.address import Address
from gapless.config.settings import Config
from gapless.environment import Inherited
from gapless.errors import GaplessError
from gapless.home import Home
from gapless.switch.job import Jobs
from gapless.switch.manager import Companion, Guard, Instance, Manager


@dataclass(frozen=True)
class Look:
    """What runs of an app: its instances, and the `trouble` with whoever holds its socket, if there is any.

    `supervisor` describes the embedded supervisor (pid, since, sockets); None under systemd and when none runs.
    """

    instances: Sequence[Instance]
    trouble: GaplessError | None = None
    supervisor: dict[str, object] | None = None
    companions: Sequence[Companion] = ()


@dataclass(frozen=True)
class Unneeded:
    """Files of releases that are gone; after their removal the command line `then` is due, if there is one."""

    paths: Sequence[Path]
    then: str = ""


@dataclass(frozen=True)
class Lines:
    """Which lines of a log are wanted: the last `most`, of those written `since` (Unix time) that match `pattern`.

    A pattern is a regular expression; without a capital it means both cases, as for journalctl(1).
    """

    most: int
    since: float | None = None
    pattern: str = ""

    def __contains__(self, line: str) -> bool:
        """Whether the text of a line matches."""
        flags = re.NOFLAG if any(map(str.isupper, self.pattern)) else re.IGNORECASE
        return re.search(self.pattern, line, flags) is not None


class App(Protocol):
    """An app under the manager that has it. Each method raises GaplessError when the manager cannot be asked."""

    @property
    def kind(self) -> Literal["systemd", "embedded"]:
        """What `[manager]` calls the manager."""

    @property
    def home(self) -> Home:
        """Where its releases are."""

    @property
    def manager(self) -> Manager:
        """Who runs its releases."""

    @property
    def jobs(self) -> Jobs | None:
        """Who builds and migrates; None where the deployer does it."""

    @property
    def guard(self) -> Guard | None:
        """Who turns back from a release that nobody confirms; None where nobody does."""

    def inherited(self) -> Inherited:
        """What a deployer's builds and migrations have from the manager, as the app has it."""

    @property
    def readdress(self) -> str:
        """The command, in words, that makes the manager listen on another address."""

    def backup(self, config: Config) -> str:
        """Have the replica of the database hold all that is written by now; returns that transaction's number.

        "" where no replica is to be, or there is no database yet. `config` is that of the release that is to come.
        """

    def prepare(self) -> None:
        """Make what a command needs before the first release is installed. Raises OSError."""

    def held(self) -> Sequence[Address]:
        """The addresses on which the manager listens, or is to."""

    def look(self) -> Look:
        """What runs, also while the manager itself does not."""

    def log(self, release: str, wanted: Lines) -> list[str]:
        """What of the builds, migrations, hooks and instances of `release` is `wanted`."""

    def follow(self, wanted: Lines) -> Iterator[str]:
        """New lines of every release that are `wanted`, each as `<release> | line`, until the caller stops."""

    def unneeded(self) -> Unneeded:
        """What the manager keeps of releases that are gone."""
