"""The system users of an app: it runs as one, its builds as the other."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from gapless.errors import GaplessError
from gapless.linux.files import replace
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome

COMMENT = "made by gapless"  # in the passwd entry of a user of ours
IN_ANOTHERS_GROUP = f"{COMMENT} in a group that was there"
NOBODY = "65534"  # a group that systemd wants on every host
LONGEST = 32  # characters of a user's name, useradd(8)


@dataclass(frozen=True)
class Account:
    """The user `name` of the app in `home`, with the home directory `directory`; an empty name needs none.

    Who already has that name, a person or another service, would be the app: `adopt` says that this is meant, and is
    written down.
    """

    home: SystemdHome
    name: str
    directory: Path
    adopt: bool = False

    def missing(self) -> list[str]:
        """Say whether the user is to be made or adopted. Raises GaplessError for who is somebody else, or cannot be."""
        if self.name and self.is_ours and not os.path.lexists(self._mask):
            return [f"Keep {self.name} from having a systemd manager of its own ({self._mask})."]
        if not self.name or self.is_ours or self.name in self._adopted:
            return []
        if self.user is None and len(self.name) > LONGEST:
            cause = f"a user's name has at most {LONGEST} characters"
            raise GaplessError("make", f"the user {self.name}", cause, "choose a shorter `name`")
        if self.user is None and not self._has_group:
            return [f"Make the system user {self.name}."]
        if not self.adopt:
            what = "user" if self.user else "group"
            hint = f"choose another `name`, or run `gapless up --existing-user` if {self.name} is to run the app"
            raise GaplessError("use", f"the {what} {self.name}", "gapless did not make it for this app", hint)
        return [f"Use the {'user' if self.user else 'group'} {self.name} that is there already."]

    def make(self) -> None:
        if not self.missing():
            return
        if not self.is_ours:
            self._add()
        if self.is_ours and not os.path.lexists(self._mask):
            # Everybody may have one started that outlives him (`loginctl enable-linger`): outside of every sandbox.
            self._mask.symlink_to(os.devnull)

    def _add(self) -> None:
        if self.user or self._has_group:  # first: killed after it, the next `up` goes on
            replace(self.home.adopted, "".join(f"{one}\n" for one in sorted({*self._adopted, self.name})))
        if self.user is None:
            group = ["--gid", self.name] if self._has_group else ["--user-group"]
            comment = IN_ANOTHERS_GROUP if self._has_group else COMMENT
            argv = ["useradd", "--system", "--no-create-home", "--home-dir", str(self.directory), *group]
            _run(*argv, "--shell", "/usr/sbin/nologin", "--comment", comment, self.name)

    def remove(self, *, data: bool) -> list[str]:
        """Delete the user when the data goes, too, and only if gapless made it; returns what was deleted."""
        if not data or not self.is_ours:
            return []
        if self.user and self.user.pw_gecos == IN_ANOTHERS_GROUP:
            _run("usermod", "--gid", NOBODY, self.name)  # userdel(8) removes the group of a user's name with him
        self._mask.unlink(missing_ok=True)  # first: the next user may have its number
        _run("userdel", self.name)
        return [f"the user {self.name}"]

    @property
    def user(self) -> pwd.struct_passwd | None:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(self.name)
        return None

    @property
    def is_ours(self) -> bool:
        """Whether gapless made the user, for this app."""
        # By its home directory, too: builds of an app `shop` run as shop-build, and so would an app of that name.
        user, comments = self.user, (COMMENT, IN_ANOTHERS_GROUP)
        return user is not None and user.pw_gecos in comments and user.pw_dir == str(self.directory)

    @property
    def _mask(self) -> Path:
        """The unit of the user's own systemd manager, masked."""
        return self.home.units / f"user@{self.user.pw_uid if self.user else NOBODY}.service"

    @property
    def _has_group(self) -> bool:
        with contextlib.suppress(KeyError):
            return bool(grp.getgrnam(self.name))
        return False

    @property
    def _adopted(self) -> set[str]:
        with contextlib.suppress(FileNotFoundError):
            return {*self.home.adopted.read_text("utf-8").split()}
        return set()


def _run(*argv: str) -> None:
    path = {"PATH": units.PATH}  # `su` without `-` leaves root one without /usr/sbin
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | path)
    if done.returncode != 0:
        cause = done.stderr.strip() or f"it exited with status {done.returncode}"
        raise GaplessError("run", argv[0], cause, "run it as root" if os.geteuid() else "")
