"""Where an app of a systemd host is: its directories, its units, and who runs it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gapless.home import Home

MARK = "# Made by gapless "  # every unit of ours begins so


@dataclass(frozen=True)
class Place:
    """An app by its name; with `user` it belongs to the caller's own systemd manager, else to the machine's."""

    name: str
    user: bool = False

    @property
    def owner(self) -> str:
        """The user that the app runs as; empty under a user's manager, where it is who calls."""
        return "" if self.user else self.name

    @property
    def root(self) -> Path:
        """Releases, shared data, the ledger: everything but the units."""
        return _xdg("XDG_DATA_HOME", ".local/share") / "gapless" / self.name if self.user else Path("/srv", self.name)

    @property
    def home(self) -> Home:
        return Home(self.root)

    @property
    def shared(self) -> Path:
        return self.home.shared

    @property
    def units(self) -> Path:
        """The directory of unit files, systemd.unit(5)."""
        return _xdg("XDG_CONFIG_HOME", ".config") / "systemd/user" if self.user else Path("/etc/systemd/system")

    @property
    def volatile(self) -> Path:
        """The directory of unit files that a reboot forgets."""
        return self._runtime / "systemd" / ("user" if self.user else "system")

    @property
    def run(self) -> Path:
        """The private sockets: RuntimeDirectory= of the units."""
        return self._runtime / "gapless" / self.name

    @property
    def _runtime(self) -> Path:
        return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") if self.user else Path("/run")

    @property
    def socket(self) -> str:
        """The unit that holds the listening socket."""
        return f"{self.name}.socket"

    def unit(self, instance: str) -> str:
        """The unit of an instance: that of a release, or `<release>.<number>` while an earlier one still drains."""
        return f"{self.name}@{instance}.service"

    def other(self, what: str, release: str, kind: str = "service") -> str:
        """The unit of a release's process or timer; no app has a dot in its name, so it is nobody else's."""
        return f"{self.name}.{what}@{release}.{kind}"

    @property
    def patterns(self) -> tuple[str, ...]:
        """Names of all the units that releases have."""
        return self.unit("*"), self.other("*", "*"), self.other("*", "*", "timer")

    def instance(self, unit: str) -> str:
        """The inverse of `unit`."""
        return unit.partition("@")[2].removesuffix(".service")

    def private(self, instance: str) -> str:
        """The path of an instance's private socket."""
        return str(self.run / f"{instance}.sock")

    @property
    def commit(self) -> Path:
        """The one file that names the current release."""
        return self.units / f"{self.socket}.d" / "current.conf"

    @property
    def candidate(self) -> Path:
        """The file that names the first candidate, as long as there is no commit: a socket needs a service."""
        return self.volatile / f"{self.socket}.d" / "candidate.conf"

    @property
    def installed(self) -> bool:
        """Whether `gapless up` has installed the app here."""
        unit = self.units / self.socket
        return unit.exists() and ours(unit)

    @property
    def enabled(self) -> bool:
        """Whether the socket opens at boot."""
        return (self.units / "sockets.target.wants" / self.socket).is_symlink()


def ours(unit: Path) -> bool:
    """Whether gapless made the unit file."""
    return unit.read_text("utf-8", "replace").startswith(MARK)


def _xdg(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / default)


def find(name: str) -> Place | None:
    """Where the app is installed on this machine: system-wide, or for the caller; None when it is not."""
    return next((place for place in (Place(name), Place(name, user=True)) if place.installed), None)


def release_of(instance: str) -> str:
    """The release of an instance: releases have no dot in their names."""
    return instance.partition(".")[0]
