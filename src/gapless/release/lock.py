"""One deploy at a time, and a manual hold: whoever is refused learns who holds it, since when and why.

`home`/lock is locked and never written, and only its owner can open it: whoever can open a file can flock(2) it. Who
holds it stands beside it, for everybody. A migration that outlives its deployer keeps others out by a third file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.disk import refusal
from gapless.release import unconfirmed
from gapless.release.clock import CLOCK, Clock
from gapless.release.hold import BUSY, hold, keep_lease, refused_by, use_lease
from gapless.release.holding import Holder, lock_file, me_as_holder, open_own, written
from gapless.release.unconfirmed import Unconfirmed
from gapless.switch import pause

POLL = 0.05  # seconds
# A reader of the lock has it for microseconds, and a holder writes its name just after it got it:
# no refusal before that is out of the question.
LEAST_WAIT = 0.15  # seconds


class DeployLock:
    """The lock, held."""

    def __init__(self, home: Path, holder: Holder) -> None:
        self._home = home
        self.holder = holder

    def name(self, **known: str) -> None:
        """Say more precisely what the lock is held for, with fields of Holder. Raises GaplessError."""
        self.holder = msgspec.structs.replace(self.holder, **known)
        fresh = Home(self._home).holder.with_suffix(".new")
        try:
            fresh.unlink(missing_ok=True)
            with fresh.open("xb") as file:  # no sync: each holds up what the live release writes
                os.fchmod(file.fileno(), 0o644)
                file.write(msgspec.json.encode(self.holder))
            fresh.rename(Home(self._home).holder)
        except OSError as error:
            raise refusal("write", "the lock's holder", error) from error

    @contextlib.contextmanager
    def migrating(self) -> Iterator[int]:
        """A descriptor for a migration (pass_fds): should we be killed, it keeps other deploys out until that ends.

        Its file goes at the end: whoever still has it then keeps nobody out, and it is not the deploy lock's own, which
        could be unlocked by it. Raises GaplessError.
        """
        path = Home(self._home).migration
        try:
            descriptor = open_own(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL)
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # the shared one is to be had read-only on every file system
        except OSError as error:
            raise refusal("lock", str(path), error) from error
        try:
            yield descriptor
        finally:
            with contextlib.suppress(OSError):  # the next deploy does it, once nobody has it
                path.unlink()
            os.close(descriptor)


@contextlib.contextmanager
def deploy_lock(
    home: Path,
    *,
    why: str,
    wait: float = 0.0,
    clock: Clock = CLOCK,
    busy: Callable[[], str] | None = None,
    deploys: bool = True,
    lease: str = "",
    lets: Callable[[Unconfirmed], bool] = lambda _record: False,
) -> Iterator[DeployLock]:
    """Hold the one lock of `home`, after at most `wait` seconds; the kernel frees it if this process dies.

    `busy` says, in words, what of a killed deployer's must end first; "" is nothing. Raises GaplessError with status
    75, naming the holder (invariant 2), when somebody else keeps the lock, or the home is busy; and for what `deploys`,
    when a hold or a pause is on, or a release waits to be confirmed, unless the caller `lets` it. The hold that is the
    `lease` with that token is the caller's own, and renewed, before and after.
    """
    descriptor = lock_file(home, Home(home).lock, "lock")
    try:
        deadline = clock.monotonic() + max(wait, LEAST_WAIT)
        unwanted = partial(_unwanted, home, clock, lease, lets) if deploys else lambda: None
        while (refused := _try(descriptor, home, busy, unwanted)) is not None:
            if clock.monotonic() >= deadline:
                raise refused
            clock.sleep(POLL)
        me = me_as_holder(why, clock)
        lock = DeployLock(home, msgspec.structs.replace(me, who=use_lease(home, lease, clock).who) if lease else me)
        try:
            with contextlib.suppress(GaplessError):  # the disk is full: a prune must be possible all the same
                lock.name()
            yield lock
        finally:
            with contextlib.suppress(OSError):  # the name says nothing once it is unlocked
                (Home(home).holder).unlink()
            if lease:
                with contextlib.suppress(GaplessError):  # then it ends sooner
                    keep_lease(home, lease, clock)
    finally:
        os.close(descriptor)


def _try(
    descriptor: int, home: Path, busy: Callable[[], str] | None, unwanted: Callable[[], GaplessError | None]
) -> GaplessError | None:
    """Take the lock; the refusal when that is not possible now."""
    try:
        os.fchmod(descriptor, 0o600)  # an older gapless made it for all to open, and so to lock
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused = unwanted() or _not_now(home)
        if refused is None and busy and (cause := busy()):
            refused = _busy(home, cause, "wait for it to end, or pass --lock-wait 10m")
        if refused is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BlockingIOError:
        held_by = written(Home(home).holder)
        if held_by.alive:
            return _busy(home, f"it is locked by {held_by}", "wait for it to end, or pass --lock-wait 10m")
        return _busy(home, "a process holds its lock that did not say who it is", _find(Home(home).lock))
    except OSError as error:
        raise refusal("lock", str(home), error) from error
    return refused


def _unwanted(home: Path, clock: Clock, lease: str, lets: Callable[[Unconfirmed], bool]) -> GaplessError | None:
    """The refusal while deploys are on hold by somebody without that `lease`, visitors wait, or a release does."""
    if not lease and (found := hold(home, clock)):
        return refused_by(home, found)
    if paused := pause.lasting(Home(home)):
        hint = "`gapless resume` ends the pause; or pass --lock-wait 10m"
        return _busy(home, f"the app is paused {paused}", hint)
    if (record := unconfirmed.read(home)) and not lets(record):
        return unconfirmed.refused(home, record)
    return None


def _not_now(home: Path) -> GaplessError | None:
    """The refusal while a killed deployer's migration runs.

    Only under the lock: the file of a migration that ended since is removed.
    """
    path = Home(home).migration
    if _is_locked(path, fcntl.LOCK_EX):
        cause = "its deployer is gone, but a command that it started still runs and holds the lock"
        return _busy(home, f"{cause}: {written(Home(home).holder)}", _find(path))
    path.unlink(missing_ok=True)
    return None


def _find(path: Path) -> str:
    return f"wait for that command to end; `fuser -v {path}` finds it"


def _busy(home: Path, cause: str, hint: str) -> GaplessError:
    return GaplessError("lock", str(home), cause, hint, status=BUSY)


def _is_locked(path: Path, how: int) -> bool:
    """Whether somebody has locked it so that we cannot do so in the way of `how`. Raises OSError."""
    try:  # to lock exclusively, some file systems want it open for writing; a status works on a read-only one
        descriptor = open_own(path, os.O_RDWR if how == fcntl.LOCK_EX else os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def holder(home: Path) -> Holder | None:
    """Who holds the deploy lock now, or None. Raises GaplessError.

    For those who may not open the lock, its holder is who said so last and still lives.
    """
    try:
        # Readers share the lock, and do not take one another for a deploy.
        if not _is_locked(Home(home).lock, fcntl.LOCK_SH) and not _is_locked(Home(home).migration, fcntl.LOCK_EX):
            return None
    except PermissionError:
        said = written(Home(home).holder)
        return said if said.alive else None
    except OSError as error:
        raise refusal("read", str(Home(home).lock), error) from error
    return written(Home(home).holder)
