"""The unit that holds the listening socket."""

from __future__ import annotations

import grp
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from gapless import address
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.linux.files import replace
from gapless.linux.upwards import writers_above
from gapless.switch.job import Kind
from gapless.switch.systemd import units, wake
from gapless.switch.systemd.closing import close, is_closed
from gapless.switch.systemd.guard import SystemdGuard
from gapless.switch.systemd.home import SystemdHome


@dataclass(frozen=True)
class SocketUnit:
    """The socket unit as `config` wants it; open and enabled once there is a `current` release."""

    config: Config
    home: SystemdHome
    current: str | None

    def missing(self) -> list[str]:
        """Say what is to be done. Raises GaplessError for the path of a Unix socket that is not the manager's alone."""
        self._refuse_writers()
        sentences = [f"Write {self.home.units / self.home.socket}."] if self.diff() else []
        if self.current:
            sentences += [f"Open {self.home.socket} again."] if self.is_shut() else []
            sentences += [] if self.home.enabled else [f"Enable {self.home.socket}."]
        return sentences

    def diff(self) -> list[str]:
        """Show how the installed unit differs from the wanted one, as a unified diff; nothing when it does not."""
        before, wanted = units.installed_socket(self.home), units.socket(self.config, self.home)
        if before and units.body(before) == units.body(wanted):  # whoever made it
            return []
        import difflib  # only a change pays for it

        return list(difflib.unified_diff(before.splitlines(), wanted.splitlines(), "installed", "new", "", "", 3, ""))

    def moved(self) -> str:
        """Why the held socket would have to be closed: its addresses are not the configured ones; "" when they are."""
        return address.moved(units.listens(units.installed_socket(self.home)), self.config.addresses)

    def closes(self) -> str:
        """Why visitors would be refused for that, as `moved`; "" when it only gets more addresses."""
        installed = units.listens(units.installed_socket(self.home))
        wanted = {address.Address.parse(one).name for one in self.config.addresses}
        stays = all(one.name in wanted and not isinstance(one.name, str) for one in installed)
        return "" if stays else self.moved()

    def is_shut(self) -> bool:
        """Whether the socket is closed: somebody stopped it, or killed an `up` that had closed it."""
        return is_closed(self.home)

    def _refuse_writers(self) -> None:
        """Refuse a place where the manager, root, would bind and remove what somebody else has put there."""
        for one in map(address.Address.parse, self.config.addresses):
            if isinstance(one.name, str) and (why := writers_above(Path(one.name), {0, os.geteuid()})):
                hint = f'in gapless.toml: listen = "unix:/run/{self.home.name}.sock"'
                if self.home.user:
                    hint = "use a directory that is yours alone, such as $XDG_RUNTIME_DIR"
                raise GaplessError("listen on", one.written, why, hint, status=2)

    def make(self) -> None:
        if self.moved():
            close(self.home)  # first: if we are killed now, the next `up` sees that it is shut
        if self.diff():
            replace(self.home.units / self.home.socket, units.socket(self.config, self.home))
            self.home.ctl.do("daemon-reload")
            self._open_for_its_group()
        if self.current and not self.home.enabled:  # before there is a release, the port is to stay closed
            self.home.ctl.do("enable", self.home.socket)

    def _open_for_its_group(self) -> None:
        """Give the socket that is open the mode and the group of its unit: systemd does so only when it opens one."""
        of_caddy = f"SocketGroup={units.CADDY}\n" in units.installed_socket(self.home)
        for one in units.listens(units.installed_socket(self.home)) if self.home.owner else []:
            path = Path(one.name) if isinstance(one.name, str) else None
            # Only in /run itself root alone makes names: elsewhere it could be another file by now.
            if path and path.parent == Path("/run") and path.is_socket():
                os.chown(path, -1, grp.getgrnam(units.CADDY).gr_gid if of_caddy else 0)
                path.chmod(0o660 if of_caddy else 0o666)

    def reopen(self) -> None:
        """Stop the socket and the app's services, let them drain, and start the socket as its unit says now."""
        self.home.ctl.end_by_conflict(self.home.socket, wait=False)  # it waits for whoever drains already
        self.home.ctl.end(self.home.unit("*"))
        self.home.ctl.end_by_conflict(self.home.socket)
        self.home.ctl.do("start", self.home.socket)

    def remove(self, *, data: bool) -> list[str]:  # noqa: ARG002 -- it keeps none
        """Stop everything, in a drain, and remove the units of the releases and the drop-ins; not the unit itself."""
        home = self.home
        if (home.units / home.socket).exists():
            self.home.ctl.do("disable", home.socket)
            # First, or a connection starts the service again; it waits for whoever drains already.
            self.home.ctl.end_by_conflict(home.socket, wait=False)
        self.home.ctl.end(*home.patterns)
        if (home.units / home.socket).exists():
            self.home.ctl.end_by_conflict(home.socket)
        wake.disarm(home)  # of a pause whose server died
        SystemdGuard(home).end()
        patterns = (*home.patterns, f"{home.socket}.d")
        found = [one for where in (home.units, home.volatile) for pattern in patterns for one in where.glob(pattern)]
        jobs = (home.volatile / home.job(kind) for kind in Kind)  # of a killed deployer; they do not run any more
        found += [path for path in jobs if path.exists()]
        found += home.stamps.glob(f"stamp-{home.other('*', '*', 'timer')}")
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
