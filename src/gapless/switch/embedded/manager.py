"""The embedded manager: what `gapless deploy` drives the supervisor of `gapless run` with."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from gapless import programs
from gapless.errors import GaplessError
from gapless.switch import orders
from gapless.switch.embedded import control
from gapless.switch.embedded.control import About
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.manager import Companion, Instance, Started


class EmbeddedManager:
    """Implements Manager over the control socket of `home` (`<project>/.gapless`).

    Every method raises GaplessError; those that need the supervisor raise `control.UnreachableError` without one.
    """

    def __init__(self, home: Path) -> None:
        self._home = EmbeddedHome(home.absolute())

    @property
    def commit(self) -> Path:
        """The link that names the current release."""
        return self._home.link

    def start(self, release: str, timeout: float) -> Started:
        """Start a candidate and wait at most `timeout` seconds for its readiness.

        One that times out is told to go by the supervisor itself, and so is one whose caller dies meanwhile.
        """
        return msgspec.convert(control.ask(self._home, control.Start(release, timeout), timeout), Started)

    def retire(self, instance: Instance) -> None:
        """Tell an instance to drain; returns at once."""
        control.ask(self._home, control.Retire(instance.id, instance.pid))

    def stand_by(self, instance: Instance) -> bool:
        """Have an instance accept no more, but stay: as it is asked on its private socket."""
        return orders.stand_by(instance.private)

    def resume(self, instance: Instance) -> bool:
        """Have an instance that stands by accept again."""
        return orders.resume(instance.private)

    def pause(self, instance: Instance) -> bool:
        """Have an instance stand by, and let its idle connections wait."""
        return orders.pause(instance.private)

    def arm(self, instance: Instance, seconds: float) -> None:
        """Have the supervisor resume an instance in so many `seconds`."""
        control.ask(self._home, control.Arm(instance.id, instance.pid, seconds))

    def disarm(self) -> None:
        """Have the supervisor forget that."""
        control.ask(self._home, control.Disarm())

    def stop(self, instance: Instance) -> None:
        """End an instance and wait until it is gone: SIGTERM, and SIGKILL after 3 s.

        If it became ready in that very moment it drains instead: it may have accepted connections.
        """
        while not control.ask(self._home, control.Stop(instance.id, instance.pid)):
            pass  # each answer took seconds, and the supervisor bounds how many there can be

    def instances(self) -> Sequence[Instance]:
        """Every instance that runs, oldest first."""
        return msgspec.convert(control.ask(self._home, control.Instances()), list[Instance])

    def companions(self) -> Sequence[Companion]:
        """None: the supervisor runs servers alone."""
        return []

    def in_use(self) -> Collection[str]:
        """The releases of which any process runs."""
        servers = {one.release for one in self.instances()}
        return servers | programs.at_work(self._home)

    def tidy(self) -> None:
        """Do nothing: what this manager keeps of an instance goes with that."""

    def point(self, release: str) -> None:
        """Commit, with or without a supervisor; raises GaplessError when there is no such release, or OSError."""
        self._home.point(release)
        # The commit is made. The supervisor reads it whenever it matters; this only makes it look now.
        with contextlib.suppress(GaplessError):
            control.ask(self._home, control.Settle())

    def current(self) -> str | None:
        """The release that the commit file names."""
        return self._home.current()

    def about(self) -> About:
        """The supervisor: pid, since when, and the sockets it holds."""
        return control.about(self._home)
