"""Who holds the deploy lock, or a hold, as that is written down for the others to read."""

from __future__ import annotations

import getpass
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gapless.linux import procfs
from gapless.linux.disk import refusal
from gapless.release.clock import Clock

LONGEST = 1 << 16  # bytes of a holder's name that are read


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lock or the hold; `since` is Unix time, `release` is empty until its name is known.

    `phase` is the one in which others may want to know of it: "migrate" or "watch".

    `started` is in clock ticks since the boot: with the pid it names one process. `until` is the Unix time at which it
    ends by itself; None is never.
    """

    who: str = "somebody"
    pid: int = 0
    since: float = 0.0
    release: str = ""
    why: str = ""
    started: int = 0
    phase: str = ""
    until: float | None = None

    @property
    def alive(self) -> bool:
        """Whether the very process that took the lock is still there (a zombie is not)."""
        return procfs.lives(self.pid, self.started)

    @property
    def told(self) -> dict[str, object]:
        """What others may know of it, as a document."""
        return {name: getattr(self, name) for name in Holder.__struct_fields__}

    def __str__(self) -> str:
        pid = f" (pid {self.pid})" if self.until is None else ""  # whoever took a lease has left again
        until = "" if self.until is None else f", until {moment(self.until)}"
        release = f", release {self.release}" if self.release else ""
        phase = f" ({self.phase})" if self.phase else ""
        return f"{self.who}{pid} since {moment(self.since)}{until}{release}: {self.why}{phase}"


def moment(when: float) -> str:
    """Unix time as refusals tell it."""
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M:%S} UTC"


def me() -> str:
    """user@host, as the lock and the ledger name whoever runs the command."""
    try:
        # Under systemd every deploy is root's: the one who typed sudo(8) is meant.
        user = (os.geteuid() == 0 and os.environ.get("SUDO_USER")) or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def me_as_holder(why: str, clock: Clock) -> Holder:
    """This process as one that holds something from now on."""
    return Holder(me(), os.getpid(), clock.now(), why=why, started=procfs.started(os.getpid()))


def open_own(path: Path, flags: int) -> int:
    """A descriptor of the file itself, which is for its owner only when this makes it. Raises OSError."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


def lock_file(home: Path, path: Path, verb: str) -> int:
    """A descriptor of the file in `home` that is locked to `verb` it. Raises GaplessError."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        return open_own(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise refusal(verb, str(home), error) from error


def written(path: Path) -> Holder:
    """The holder that the file at `path` tells of."""
    try:
        return msgspec.json.decode(content(path), type=Holder)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return Holder()  # taken a moment ago, and not yet written


def content(path: Path) -> bytes:
    """What a file of ours says, as far as it is read. Raises OSError."""
    descriptor = open_own(path, os.O_RDONLY)
    try:
        return os.read(descriptor, LONGEST)
    finally:
        os.close(descriptor)
