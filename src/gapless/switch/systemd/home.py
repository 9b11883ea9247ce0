"""What a systemd host has of an app: a home in /srv, or of the caller's own manager, units, and private sockets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from gapless.home import Home
from gapless.switch.systemd.systemctl import Systemctl

MARK = "# Made by gapless "  # every unit of ours begins so


class SystemdHome(Home):
    """An app by its name; with `user` it belongs to the caller's own systemd manager, else to the machine's."""

    def __init__(self, name: str, *, user: bool = False) -> None:
        super().__init__(_xdg("XDG_DATA_HOME", ".local/share") / "gapless" / name if user else Path("/srv", name))
        self.name = name
        self.user = user
        self.own = " --user" if user else ""  # what people add to systemctl, journalctl and `gapless up`
        self.owner = "" if user else name
        self.builder = "" if user else f"{name}-build"

    @property
    def ctl(self) -> Systemctl:
        """The manager that runs the units."""
        return Systemctl(self.user)

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
    def rehearsals(self) -> Path:
        """The sockets of rehearsals: ours, while the directory of private sockets is the app's."""
        return self.run.with_name(f"{self.name}.rehearsal")

    @property
    def _runtime(self) -> Path:
        return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") if self.user else Path("/run")

    @property
    def socket(self) -> str:
        """The unit that holds the listening socket."""
        return f"{self.name}.socket"

    def unit(self, instance: str) -> str:
        """Name the unit of an instance: that of a release, or `<release>.<number>` while an earlier still drains."""
        return f"{self.name}@{instance}.service"

    @property
    def adopted(self) -> Path:
        """The names of users that were there before the app, and are to run it all the same."""
        return self.root / "adopted"

    def job(self, kind: str) -> str:
        """The unit of a build or a migration, whatever its release: there is one at a time."""
        return f"{self.name}.{kind}.service"

    def other(self, what: str, release: str, kind: str = "service") -> str:
        """The unit of a release's process or timer; no app has a dot in its name, so it is nobody else's."""
        return f"{self.name}.{what}@{release}.{kind}"

    def what(self, unit: str) -> str:
        """The name of the process or timer whose unit it is."""
        return unit.partition("@")[0].removeprefix(f"{self.name}.")

    @property
    def stamps(self) -> Path:
        """Where systemd keeps when it ran persistent timers last."""
        return (_xdg("XDG_DATA_HOME", ".local/share") if self.user else Path("/var/lib")) / "systemd/timers"

    @property
    def patterns(self) -> tuple[str, ...]:
        """Names of all the units that releases have."""
        return self.unit("*"), self.other("*", "*"), self.other("*", "*", "timer")

    def orphans(self) -> Iterator[tuple[Path, str]]:
        """Every unit file of a release whose directory is gone, with the name of that release."""
        for directory in (self.units, self.volatile):
            for path in sorted(path for pattern in self.patterns for path in directory.glob(pattern)):
                release = release_of(self.instance(path.name))
                if not (self.releases / release).exists():
                    yield path, release

    @property
    def temporaries(self) -> list[tuple[Path, str]]:
        """Where files are made that are then renamed, those among the units included."""
        among = [(one, f".{self.name}[.@]*.gapless-*") for one in (self.units, self.volatile)]
        inside = [(one / f"{self.socket}.d", ".*.gapless-*") for one in (self.units, self.volatile)]
        return super().temporaries + among + inside

    def instance(self, unit: str) -> str:
        """The inverse of `unit`."""
        return unit.partition("@")[2].removesuffix(".service")

    def of_unit(self, unit: str) -> str:
        """The release that a unit of systemd is of: its server, a process, a timer's job, a rehearsal."""
        ours = unit.endswith(".service") and unit.partition("@")[0].partition(".")[0] == self.name
        return release_of(self.instance(unit)) if ours else ""

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

    def runtime(self, instance: str) -> str:
        """The directory that an instance has for itself as long as it runs, empty when it starts.

        In a unit of the machine's own /dev/shm is one; a user's own manager cannot make such.
        """
        return str(self.runtimes / instance) if self.user else "/dev/shm"  # noqa: S108 -- the unit's, not the machine's

    @property
    def runtimes(self) -> Path:
        """The directories that a user's instances have for themselves."""
        return self.run.with_name(f"{self.name}.runtime")

    @property
    def maintenance(self) -> Path:
        """The file that has Caddy answer with the page of maintenance, as long as it is there."""
        return self.root / "maintenance"

    @property
    def page(self) -> Path:
        """What visitors see in maintenance, and until the first release serves."""
        return self.root / "maintenance.html"

    @property
    def litestream(self) -> str:
        """The unit that keeps the replica of the database up to date; no app has a dot in its name."""
        return f"{self.name}.litestream.service"

    @property
    def litestream_config(self) -> Path:
        """What Litestream is told: for everybody to read."""
        return self.root / "litestream.yml"

    @property
    def litestream_env(self) -> Path:
        """The credentials for the replica: root's alone, systemd hands them over."""
        return self.root / "litestream.env"

    @property
    def litestream_run(self) -> Path:
        """The directory of Litestream's control socket: RuntimeDirectory= of its unit."""
        return self._runtime / "gapless" / f"{self.name}.litestream"

    @property
    def restoring(self) -> Path:
        """The file that is locked while another database takes the place of the present one: no start before."""
        return self.root / "restoring.lock"

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


def find(name: str) -> SystemdHome | None:
    """Where the app is installed on this machine: system-wide, or for the caller; None when it is not."""
    return next((home for home in (SystemdHome(name), SystemdHome(name, user=True)) if home.installed), None)


def release_of(instance: str) -> str:
    """The release of an instance: releases have no dot in their names."""
    return instance.partition(".")[0]
