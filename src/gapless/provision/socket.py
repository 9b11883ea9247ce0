"""The unit that holds the listening socket."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from gapless import address
from gapless.config import Config
from gapless.linux.files import replace
from gapless.switch.job import Kind
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome

LONGEST = 24 * 3600.0  # seconds: every unit has a TimeoutStopSec of its own


@dataclass(frozen=True)
class SocketUnit:
    """The socket unit as `config` wants it; open and enabled once there is a `current` release."""

    config: Config
    home: SystemdHome
    current: str | None

    def missing(self) -> list[str]:
        sentences = [f"Write {self.home.units / self.home.socket}."] if self.diff() else []
        if self.current:
            sentences += [f"Open {self.home.socket} again."] if self.is_shut() else []
            sentences += [] if self.home.enabled else [f"Enable {self.home.socket}."]
        return sentences

    def diff(self) -> list[str]:
        """Show how the installed unit differs from the wanted one, as a unified diff; nothing when it does not."""
        before, wanted = units.installed_socket(self.home), units.socket(self.config)
        if before == wanted:
            return []
        import difflib  # only a change pays for it

        return list(difflib.unified_diff(before.splitlines(), wanted.splitlines(), "installed", "new", "", "", 3, ""))

    def moved(self) -> str:
        """Why the held socket would have to be closed: its addresses are not the configured ones; "" when they are."""
        return address.moved(units.listens(units.installed_socket(self.home)), self.config.addresses)

    def is_shut(self) -> bool:
        """Whether the socket is closed: somebody stopped it, or killed an `up` that had closed it."""
        return self.home.ctl.show(["ActiveState"], self.home.socket)[0]["ActiveState"] in {"inactive", "failed"}

    def make(self) -> None:
        if self.moved():
            self.home.ctl.do(
                "stop", self.home.socket
            )  # first: if we are killed now, the next `up` sees that it is shut
        if replace(self.home.units / self.home.socket, units.socket(self.config)):
            self.home.ctl.do("daemon-reload")
        if self.current and not self.home.enabled:  # before there is a release, the port is to stay closed
            self.home.ctl.do("enable", self.home.socket)

    def reopen(self) -> None:
        """Stop the socket and the app's services, let them drain, and start the socket as its unit says now."""
        self.home.ctl.do("stop", self.home.socket)
        self.home.ctl.do("stop", self.home.unit("*"), timeout=LONGEST)
        self.home.ctl.do("start", self.home.socket)

    def remove(self, *, data: bool) -> list[str]:  # noqa: ARG002 -- it keeps none
        """Stop everything, in a drain, and remove the units of the releases and the drop-ins; not the unit itself."""
        home = self.home
        if (home.units / home.socket).exists():
            self.home.ctl.do("disable", "--now", home.socket)  # first, or a connection starts the service again
        for pattern in home.patterns:
            self.home.ctl.do("stop", pattern, timeout=LONGEST)
        jobs = [home.job(kind) for kind in Kind]
        self.home.ctl.attempt("stop", *jobs)  # of a killed deployer; most often there is none
        patterns = (*home.patterns, f"{home.socket}.d")
        found = [one for where in (home.units, home.volatile) for pattern in patterns for one in where.glob(pattern)]
        found += [path for path in (home.volatile / job for job in jobs) if path.exists()]
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return [str(path) for path in found]

    def forget(self) -> list[str]:
        """Remove the unit itself: as long as it is there the app counts as installed."""
        unit = self.home.units / self.home.socket
        gone = [str(unit)] if unit.exists() else []
        unit.unlink(missing_ok=True)
        self.home.ctl.do("daemon-reload")
        self.home.ctl.attempt("reset-failed", self.home.socket, *self.home.patterns)
        return gone
