"""One deploy at a time, and a manual hold: whoever is refused learns who holds it, since when and why."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gapless.errors import GaplessError
from gapless.release.clock import CLOCK, Clock
from gapless.release.disk import refusal

BUSY = 75
POLL = 0.05  # seconds
# A reader of the lock has it for microseconds, and a holder writes its name just after it got it:
# no refusal before that is out of the question.
LEAST_WAIT = 0.15  # seconds


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lock or the hold; `since` is Unix time, `release` is empty until its name is known."""

    who: str = "somebody"
    pid: int = 0
    since: float = 0.0
    release: str = ""
    why: str = ""

    @property
    def alive(self) -> bool:
        """Whether the process that took the lock is still there."""
        return Path(f"/proc/{self.pid}").exists()

    def __str__(self) -> str:
        since = f"{datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M:%S} UTC"
        release = f", release {self.release}" if self.release else ""
        return f"{self.who} (pid {self.pid}) since {since}{release}: {self.why}"


def me() -> str:
    """user@host, as the lock and the ledger name whoever runs the command."""
    try:
        # Under systemd every deploy is root's: the one who typed sudo(8) is meant.
        user = (os.geteuid() == 0 and os.environ.get("SUDO_USER")) or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class DeployLock:
    """The lock, held. A child that gets `descriptor` (pass_fds) holds it too, until both are gone."""

    def __init__(self, descriptor: int, holder: Holder) -> None:
        self.descriptor = descriptor
        self.holder = holder

    def name(self, *, release: str | None = None, why: str | None = None) -> None:
        """Say more precisely what it is held for. Raises GaplessError."""
        self.holder = msgspec.structs.replace(
            self.holder, release=release or self.holder.release, why=why or self.holder.why
        )
        # One write over the old text, with spaces to its end: a reader never sees half of each.
        try:
            text = msgspec.json.encode(self.holder).ljust(os.fstat(self.descriptor).st_size)
            os.pwrite(self.descriptor, text, 0)
        except OSError as error:
            raise refusal("write", "the lock", error) from error


@contextlib.contextmanager
def deploy_lock(home: Path, *, why: str, wait: float = 0.0, clock: Clock = CLOCK) -> Iterator[DeployLock]:
    """Hold the one lock of `home`, after at most `wait` seconds; the kernel frees it if this process dies.

    Raises GaplessError with status 75, naming the holder (invariant 2), when somebody else keeps it or a hold is on.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise refusal("lock", str(home), error) from error
    try:
        deadline = clock.monotonic() + max(wait, LEAST_WAIT)
        while (refused := _try(descriptor, home)) is not None:
            if clock.monotonic() >= deadline:
                raise refused
            clock.sleep(POLL)
        lock = DeployLock(descriptor, Holder(me(), os.getpid(), clock.now(), why=why))
        try:
            lock.name()
            yield lock
        finally:
            with contextlib.suppress(OSError):  # the name left in it says nothing once it is unlocked
                os.ftruncate(descriptor, 0)
            # Unlocked, not only closed: a daemon that a migration left behind has this descriptor too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _try(descriptor: int, home: Path) -> GaplessError | None:
    """Take the lock; the refusal when that is not possible now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held_by = _read(home / "lock")
        if held_by.alive:
            return _busy(home, f"it is locked by {held_by}", "wait for it to end, or pass --lock-wait 10m")
        cause = f"its deployer is gone, but a command that it started still runs and holds the lock: {held_by}"
        return _busy(home, cause, f"wait for that command to end; `fuser -v {home / 'lock'}` finds it")
    except OSError as error:
        raise refusal("lock", str(home), error) from error
    on_hold = hold(home)
    if on_hold is None:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return _busy(home, f"deploys are on hold by {on_hold}", "`gapless lock release` ends the hold")


def _busy(home: Path, cause: str, hint: str) -> GaplessError:
    return GaplessError("lock", str(home), cause, hint, status=BUSY)


def _read(path: Path) -> Holder:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return Holder()  # taken a moment ago, and not yet written


def holder(home: Path) -> Holder | None:
    """Who holds the deploy lock now, or None. Raises GaplessError."""
    try:
        with (home / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _read(home / "lock")
    except OSError as error:
        raise refusal("read", str(home / "lock"), error) from error
    return None


def hold(home: Path) -> Holder | None:
    """The manual hold, or None."""
    path = home / "hold.json"
    return _read(path) if path.exists() else None


def acquire_hold(home: Path, why: str, clock: Clock = CLOCK) -> bool:
    """Refuse deploys from now on, until `release_hold`; False when a hold was on already. Raises GaplessError."""
    path = home / "hold.json"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(msgspec.json.encode(Holder(me(), os.getpid(), clock.now(), why=why)))
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    except OSError as error:
        raise refusal("hold", str(home), error) from error
    return True


def release_hold(home: Path) -> bool:
    """End the manual hold; False when there was none. Raises GaplessError."""
    try:
        (home / "hold.json").unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise refusal("release the hold on", str(home), error) from error
    return True
