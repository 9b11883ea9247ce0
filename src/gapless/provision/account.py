"""The system user that an app runs as."""

from __future__ import annotations

import contextlib
import grp
import pwd
import subprocess
from dataclasses import dataclass

from gapless.errors import GaplessError
from gapless.switch.systemd.home import SystemdHome

COMMENT = "made by gapless"  # in the passwd entry of a user of ours


@dataclass(frozen=True)
class Account:
    """The user `home.owner`; there is none to be made under a user's own manager."""

    home: SystemdHome

    def missing(self) -> list[str]:
        return [f"Make the system user {self.home.owner}."] if self.home.owner and not self.user else []

    def make(self) -> None:
        if not self.missing():
            return
        name = self.home.owner
        argv = ["useradd", "--system", "--no-create-home", "--home-dir", str(self.home.shared)]
        group = ["--user-group"]
        with contextlib.suppress(KeyError):
            grp.getgrnam(name)
            group = ["--gid", name]
        _run(*argv, "--shell", "/usr/sbin/nologin", *group, "--comment", COMMENT, name)

    def remove(self, *, data: bool) -> list[str]:
        """Delete the user when the data goes, too, and only if gapless made it; returns what was deleted."""
        if not data or self.user is None or self.user.pw_gecos != COMMENT:
            return []
        _run("userdel", self.home.owner)
        return [f"the user {self.home.owner}"]

    @property
    def user(self) -> pwd.struct_passwd | None:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(self.home.owner)
        return None


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        cause = done.stderr.strip() or f"it exited with status {done.returncode}"
        raise GaplessError("run", argv[0], cause, "run it as root")
