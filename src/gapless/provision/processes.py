"""What the users of an app still run once its units have stopped: commands of `gapless exec` that outlived it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from gapless.errors import GaplessError
from gapless.linux import procfs
from gapless.provision.account import Account

WITHIN = 10.0  # seconds: a process that is killed may have started another one before
PAUSE = 0.02  # seconds


@dataclass(frozen=True)
class Processes:
    """The processes of the `accounts` that gapless made; those of people and services who were there are theirs."""

    accounts: Sequence[Account]

    def missing(self) -> list[str]:
        """Nothing: processes are not what `gapless up` makes."""
        return []

    def make(self) -> None:
        """Make nothing."""

    def remove(self, *, data: bool) -> list[str]:  # noqa: ARG002 -- what still writes the data must not outlive the app
        """Kill them all, or neither their files nor their users could be removed. Raises GaplessError."""
        users = {one.user.pw_uid: one.name for one in self.accounts if one.is_ours and one.user}
        deadline = time.monotonic() + WITHIN
        while left := procfs.kill_all_of(users.keys()):
            if time.monotonic() > deadline:
                cause = f"they start others faster than they are killed (pid {left[0]} is one)"
                hint = "reboot, then repeat this"
                raise GaplessError("end", f"the processes of {' and '.join(users.values())}", cause, hint)
            time.sleep(PAUSE)
        return []
