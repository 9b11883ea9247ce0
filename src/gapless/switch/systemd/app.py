"""An app under systemd, as commands ask about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

from gapless.address import Address
from gapless.config.settings import Config
from gapless.environment import Inherited
from gapless.errors import GaplessError
from gapless.linux.files import tail
from gapless.switch.app import Lines, Look, Unneeded
from gapless.switch.systemd import journal, litestream, units
from gapless.switch.systemd.guard import SystemdGuard
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.jobs import SystemdJobs
from gapless.switch.systemd.manager import SystemdManager


class SystemdApp:
    """Implements App for the app that has its units in `home`."""

    kind: Literal["systemd"] = "systemd"
    readdress = "`gapless up --close-socket`"

    def __init__(self, home: SystemdHome) -> None:
        self.home = home

    @cached_property
    def manager(self) -> SystemdManager:
        return SystemdManager(self.home)

    @property
    def jobs(self) -> SystemdJobs:
        """Who builds and migrates, in units."""
        return SystemdJobs(self.home)

    @property
    def guard(self) -> SystemdGuard:
        """A unit that turns back."""
        return SystemdGuard(self.home)

    def inherited(self) -> Inherited:
        """What we have: units have from systemd what that has."""
        return Inherited.ours()

    def backup(self, config: Config) -> str:
        """Sync by the Litestream that `gapless up` installed."""
        one = litestream.of(self.home, config)
        if one is None:
            return ""
        one.must_be_installed()
        return one.sync() if os.path.lexists(one.path) else ""

    def prepare(self) -> None:
        """Do nothing: `gapless up` made everything."""

    def held(self) -> Sequence[Address]:
        """The addresses in the socket unit."""
        return units.listens(units.installed_socket(self.home))

    def look(self) -> Look:
        """The instances, and whether the socket unit is open."""
        unit = self.home.socket
        state = self.home.ctl.show(["ActiveState"], unit)[0]["ActiveState"]
        trouble = None
        if state != "active":
            trouble = GaplessError(
                "hold",
                "the socket",
                f"{unit} is {state}",
                f"`gapless up{self.home.own}` opens it again; `journalctl{self.home.own} -u {unit}` says why",
            )
        return Look(self.manager.instances(), trouble, companions=self.manager.companions())

    def log(self, release: str, wanted: Lines) -> list[str]:
        """What its build, migration and hooks wrote to a file, then what systemd ran, from the journal.

        Nobody knows when a line of the file was written.
        """
        file = self.home.log_of(release)
        if not wanted.most:
            return []
        built = tail(file, wanted.most) if wanted.since is None else ()
        found = [f"{release} | {line}" for line in built if line in wanted]
        return [*found, *journal.lines(self.home, release, wanted)][-wanted.most :]

    def follow(self, wanted: Lines) -> Iterator[str]:
        """New lines from the journal."""
        return journal.follow(self.home, wanted)

    def unneeded(self) -> Unneeded:
        """Unit files of releases that are neither on disk nor running."""
        running = {one.release for one in self.manager.instances()}
        reload = f"systemctl{self.home.own} daemon-reload"
        return Unneeded([path for path, release in self.home.orphans() if release not in running], reload)
