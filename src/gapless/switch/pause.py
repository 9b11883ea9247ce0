"""A pause as it is written down: which instance takes no visitors, until when, and who wants that."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import msgspec

from gapless.home import Home
from gapless.linux import procfs
from gapless.linux.disk import refusal
from gapless.switch.manager import Instance

LONGEST = 1 << 16  # bytes that are read


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """The pause of an `instance`, whose process was `started` at that clock tick of the boot `boot`.

    It ends at `ends`, on the clock that nobody sets. For people: `since` and `until`, in Unix time.
    """

    who: str
    since: float
    until: float
    ends: float
    boot: str
    started: int
    instance: Instance

    @property
    def left(self) -> float:
        """Seconds to its end."""
        return max(self.ends - time.monotonic(), 0.0)

    @property
    def lives(self) -> bool:
        """Whether the very process that was paused is there: one that was started since serves."""
        return procfs.boot() == self.boot and procfs.lives(self.instance.pid, self.started)

    @property
    def lasts(self) -> bool:
        """Whether it is not over yet."""
        return self.left > 0 and self.lives

    def __str__(self) -> str:
        return f"until {datetime.fromtimestamp(self.until, UTC):%Y-%m-%d %H:%M:%S} UTC by {self.who}"


def of(instance: Instance, seconds: float, who: str) -> Pause:
    """The pause of `instance` that begins now. Raises OSError when its process is gone."""
    now, boot, started = time.time(), procfs.boot(), procfs.started(instance.pid)
    ends = time.monotonic() + seconds
    return Pause(who=who, since=now, until=now + seconds, ends=ends, boot=boot, started=started, instance=instance)


def write(home: Home, pause: Pause) -> None:
    """Let everybody know of the pause. It need not survive a crash of the machine: the instance does not either.

    Raises GaplessError.
    """
    fresh = home.pause.with_suffix(".new")
    try:
        fresh.unlink(missing_ok=True)
        with fresh.open("xb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(msgspec.json.encode(pause))
        fresh.rename(home.pause)
    except OSError as error:
        raise refusal("write", str(home.pause), error) from error


def read(home: Home) -> Pause | None:
    """The pause that was written down last and not ended by anybody, though it may be over; None: there is none."""
    try:
        descriptor = os.open(home.pause, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return msgspec.json.decode(os.read(descriptor, LONGEST), type=Pause)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    finally:
        os.close(descriptor)


def lasting(home: Home) -> Pause | None:
    """The pause that is on."""
    found = read(home)
    return found if found and found.lasts else None


def forget(home: Home) -> None:
    """Remove what `write` wrote; nothing is no error. Raises GaplessError."""
    try:
        home.pause.unlink(missing_ok=True)
    except OSError as error:
        raise refusal("remove", str(home.pause), error) from error
