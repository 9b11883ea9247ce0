"""The directories of [uploads]: the app writes them, Caddy reads a view of them, and nobody else sees anything."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gapless import shared
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.linux import confined
from gapless.linux.files import replace
from gapless.switch.systemd import uploads
from gapless.switch.systemd.home import SystemdHome, ours
from gapless.switch.systemd.units import CADDY, installed

# Files that come later have the group of their directory, and umask 0027 lets that read them. No link is followed.
OPEN = f'find "$1" -xdev -user "$2" -type d -exec chgrp {CADDY} {{}} + -exec chmod g=rxs,o= {{}} +'
OPEN += f'; find "$1" -xdev -user "$2" -type f -exec chgrp {CADDY} {{}} + -exec chmod g+r {{}} +'
WITHIN = 300.0  # seconds


@dataclass(frozen=True)
class Uploads:
    """The directories of `config`'s [uploads], and what Caddy sees of them; nothing where there is no Caddy in front.

    Where there is none the app serves them itself.
    """

    config: Config
    home: SystemdHome

    def missing(self) -> list[str]:
        """Say what is to be done. Whoever may not look into $GAPLESS_SHARED hears of the unit alone."""
        if not self._wanted:
            return [f"Remove {self._unit}."] if self._is_there else []
        sentences = [] if installed(self.home, self._unit.name) == self._text() else [f"Write {self._unit}."]
        if self.home.shared.exists() and not os.access(self.home.shared, os.X_OK):
            return sentences
        for prefix, directory in self._wanted.items():
            path = self.home.shared / directory
            sentences += [] if self._is_open(path) else [f"Let Caddy read {path}."]
            shown = self._is_open(path) and uploads.is_shown(self.home, prefix, directory)
            sentences += [] if shown else [f"Show {path} to Caddy, for {prefix} ({uploads.place(self.home, prefix)})."]
        if not sentences and not (self.home.units / f"{self.home.socket}.wants" / self._unit.name).is_symlink():
            sentences.append(f"Enable {self._unit.name}.")
        return sentences

    def make(self) -> None:
        """Make what is missing; in $GAPLESS_SHARED as the app's account alone. Raises GaplessError, OSError."""
        if not self._wanted:
            self.remove(data=False)
            return
        if not self.missing():
            return
        shared.make(self.home, self._wanted.values())
        for directory in self._wanted.values():
            if not self._is_open(self.home.shared / directory):
                self._open(self.home.shared / directory)
            with uploads.opened(self.home, directory, pwd.getpwnam(self.home.owner).pw_uid):
                pass  # what would be wrong with it is said here, and not in the journal of the unit
        self.home.uploads.mkdir(exist_ok=True)
        os.chown(self.home.uploads, 0, grp.getgrnam(CADDY).gr_gid)
        self.home.uploads.chmod(0o750)
        changed = installed(self.home, self._unit.name) != self._text()
        if changed and self._is_there:
            self.home.ctl.do("stop", self._unit.name)  # by what it says until now: it knows its views
        replace(self._unit, self._text())
        self.home.ctl.do("daemon-reload")
        self.home.ctl.do("enable", self._unit.name)
        self.home.ctl.do("restart", self._unit.name)

    def remove(self, *, data: bool) -> list[str]:  # noqa: ARG002 -- the files are in $GAPLESS_SHARED
        """Take the views away, and their unit; the files stay."""
        if not self._is_there:
            return []
        self.home.ctl.do("disable", self._unit.name)
        self.home.ctl.do("stop", self._unit.name)
        self._unit.unlink()
        self.home.ctl.do("daemon-reload")
        with contextlib.suppress(FileNotFoundError):
            self.home.uploads.rmdir()
        return [str(self._unit)]

    @property
    def _wanted(self) -> Mapping[str, str]:
        return self.config.uploads if self.config.proxy.domains and self.home.owner else {}

    @property
    def _unit(self) -> Path:
        return self.home.units / f"{self.home.name}.uploads.service"

    @property
    def _is_there(self) -> bool:
        return bool(self.home.owner) and self._unit.exists() and ours(self._unit)

    def _text(self) -> str:
        return uploads.unit(self.home, self._wanted)

    def _is_open(self, path: Path) -> bool:
        """Whether Caddy's group can read the directory, and what comes into it."""
        try:
            found, group = path.lstat(), grp.getgrnam(CADDY).gr_gid
        except (FileNotFoundError, KeyError):
            return False
        return found.st_gid == group and found.st_mode & 0o2050 == 0o2050 and stat.S_ISDIR(found.st_mode)

    def _open(self, path: Path) -> None:
        """Let Caddy's group read it, by the app's own account with that group beside: root changes nothing in there."""
        app = pwd.getpwnam(self.home.owner)
        user = pwd.struct_passwd((*app[:3], grp.getgrnam(CADDY).gr_gid, *app[4:]))
        argv = ["/bin/sh", "-ec", OPEN, "sh", str(path), str(app.pw_uid)]
        problem = confined.run(argv, user, WITHIN) or "it is not a directory of the app's own"
        if not self._is_open(path):
            hint = f"`ls -ld {path}` shows what is there: move that away"
            raise GaplessError("open", f"{path} to Caddy", problem, hint)
