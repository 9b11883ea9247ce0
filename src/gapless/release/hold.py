"""The manual hold: nobody deploys until it is released or, where it is a lease, until that runs out.

Whoever has a lease's token goes on meanwhile, from anywhere: each command that is given the token renews the lease.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux import procfs
from gapless.linux.disk import refusal
from gapless.linux.files import replace
from gapless.release.clock import CLOCK, Clock
from gapless.release.holding import Holder, content, lock_file, me_as_holder

BUSY = 75


class Hold(Holder, frozen=True):
    """A hold. A lease is one that has a `token`'s digest: everybody may read the file.

    It lasts `seconds` from its last use: to `ends` on the clock that nobody sets, during the `boot` in which that was.
    """

    lease: str = ""
    seconds: float = 0.0
    ends: float = 0.0
    boot: str = ""

    def lasts(self, clock: Clock) -> bool:
        """Whether it is not over by itself."""
        if self.until is None:
            return True
        return clock.monotonic() < self.ends if self.boot == procfs.boot() else clock.now() < self.until

    def is_of(self, token: str) -> bool:
        """Whether it is the lease with that token."""
        return bool(self.lease) and secrets.compare_digest(self.lease, _digest(token))

    def renewed(self, clock: Clock) -> Hold:
        """The lease as it lasts from now on."""
        until, ends = clock.now() + self.seconds, clock.monotonic() + self.seconds
        return msgspec.structs.replace(self, until=until, ends=ends, boot=procfs.boot())


def hold(home: Path, clock: Clock = CLOCK) -> Hold | None:
    """The manual hold that is on, or None."""
    found = _read(home)
    return found if found and found.lasts(clock) else None


def acquire_hold(home: Path, why: str, clock: Clock = CLOCK) -> bool:
    """Refuse deploys from now on, until `release_hold`; False when a hold was on already. Raises GaplessError."""
    with _changing(home):
        if hold(home, clock):
            return False
        _write(home, Hold(**msgspec.structs.asdict(me_as_holder(why, clock))))
    return True


def acquire_lease(
    home: Path, why: str, seconds: float, by: str = "", clock: Clock = CLOCK, token: str = ""
) -> tuple[str, Hold]:
    """Refuse deploys for so many `seconds`, but those that are given the token that this returns. Raises GaplessError.

    Others read that `by` has it. With status 75, naming the holder, while a hold is on already. Whoever may not hear
    the answer, but is to end the lease, makes up the token.
    """
    token = token or secrets.token_hex(16)
    with _changing(home):
        if found := hold(home, clock):
            raise refused_by(home, found)
        me = me_as_holder(why, clock)
        lease = Hold(by or me.who, me.pid, me.since, why=why, started=me.started, lease=_digest(token), seconds=seconds)
        lease = lease.renewed(clock)
        _write(home, lease)
    return token, lease


def use_lease(home: Path, token: str, clock: Clock = CLOCK) -> Hold:
    """Renew the lease with that token.

    Raises GaplessError, with status 75, when it is over: others may have deployed since.
    """
    with _changing(home):
        found = hold(home, clock)
        if found and found.is_of(token):
            _write(home, renewed := found.renewed(clock))
            return renewed
    now = f"; deploys are on hold by {found}" if found else ""
    hint = "acquire another one: `gapless lock acquire --for 10m --why TEXT --json`"
    raise GaplessError("go on with", "the lease of this command", f"it is over{now}", hint, status=BUSY)


def keep_lease(home: Path, token: str, clock: Clock = CLOCK) -> None:
    """Renew the lease after a command that had the deploy lock, however long that took, unless it is another's now.

    Raises GaplessError.
    """
    with _changing(home):
        if (found := _read(home)) and found.is_of(token):
            _write(home, found.renewed(clock))


def release_hold(home: Path, token: str = "", clock: Clock = CLOCK) -> bool:
    """End the manual hold, or only the lease with that `token`; False when there was none. Raises GaplessError."""
    with _changing(home):
        found = _read(home)
        if found is None or (token and not found.is_of(token)):
            return False
        try:
            Home(home).hold.unlink(missing_ok=True)
        except OSError as error:
            raise refusal("release the hold on", str(home), error) from error
        return found.lasts(clock)


def refused_by(home: Path, found: Hold) -> GaplessError:
    """The refusal of a command that is to wait for the end of a hold."""
    hint = "`gapless lock release` ends the hold"
    if found.until is not None:
        hint = "`gapless lock release` ends the lease before that; or pass --lock-wait 10m"
    return GaplessError("lock", str(home), f"deploys are on hold by {found}", hint, status=BUSY)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _read(home: Path) -> Hold | None:
    try:
        return msgspec.json.decode(content(Home(home).hold), type=Hold)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return Hold()  # damaged: better safe than half-sure


def _write(home: Path, found: Hold) -> None:
    try:
        replace(Home(home).hold, msgspec.json.encode(found).decode())
    except OSError as error:
        raise refusal("hold", str(home), error) from error


@contextlib.contextmanager
def _changing(home: Path) -> Iterator[None]:
    """Let nobody else change the hold meanwhile. Raises GaplessError."""
    descriptor = lock_file(home, Home(home).hold_lock, "hold")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # who has it gives it back at once
        yield
    finally:
        os.close(descriptor)
