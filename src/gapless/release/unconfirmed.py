"""A release that serves and is not to stay unless somebody confirms it in time, as that is written down.

It is written down before the release is committed, and for the next boot, too: whoever deploys may be cut off, killed,
or without power at any instruction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux import procfs
from gapless.linux.disk import refusal
from gapless.linux.files import replace
from gapless.release.clock import CLOCK, Clock
from gapless.release.hold import BUSY
from gapless.release.holding import content, moment
from gapless.switch.manager import Guard


class Unconfirmed(msgspec.Struct, frozen=True, kw_only=True):
    """`release` serves since the `attempt` of the ledger by `who`, and `previous` stands by.

    Without an end (`until` in Unix time; `ends` on the clock that nobody sets, in that `boot`) its deployer is still at
    work, or was killed.
    """

    release: str
    previous: str
    attempt: str
    who: str
    since: float
    until: float | None = None
    ends: float = 0.0
    boot: str = ""

    def left(self, clock: Clock) -> float:
        """Seconds in which it may be confirmed; 0 once nobody may expect it to stay: in another boot, say."""
        if self.until is None or not self.of_this_boot:
            return 0.0
        return max(self.ends - clock.monotonic(), 0.0)

    def lasting(self, seconds: float, clock: Clock) -> Unconfirmed:
        """The same with so many `seconds` from now on."""
        until, ends = clock.now() + seconds, clock.monotonic() + seconds
        return msgspec.structs.replace(self, until=until, ends=ends, boot=_boot())

    @property
    def of_this_boot(self) -> bool:
        """Whether its time was set since the host was started."""
        return self.boot == _boot()

    @property
    def told(self) -> dict[str, object]:
        """What others may know of it, as a document."""
        return {key: getattr(self, key) for key in ("release", "previous", "who", "since", "until")}

    def __str__(self) -> str:
        until = "in a moment" if self.until is None else f"after {moment(self.until)}"
        by = f"by {self.who} since {moment(self.since)}"
        return f"{self.release} waits to be confirmed ({by}); else {self.previous} serves again {until}"


class Place(Protocol):
    """Where an app is, and who turns it back when nobody else does."""

    @property
    def home(self) -> Home: ...
    @property
    def guard(self) -> Guard | None: ...


def _boot() -> str:
    """This boot of the host: a container that boots anew has the kernel's boot id as before, and another process 1."""
    try:
        return f"{procfs.boot()} {procfs.started(1)}"
    except OSError:  # processes are hidden from others than root
        return procfs.boot()


def read(home: Path) -> Unconfirmed | None:
    """What was written down last and not decided since; None: there is none, or somebody damaged it."""
    try:
        return msgspec.json.decode(content(Home(home).unconfirmed), type=Unconfirmed)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write(place: Place, record: Unconfirmed) -> None:
    """Let everybody know of it, durably, and have somebody look after it. Raises GaplessError."""
    path = place.home.unconfirmed
    new = not path.exists()
    try:
        replace(path, msgspec.json.encode(record).decode())
    except OSError as error:
        raise refusal("write", str(path), error) from error
    if new and place.guard:
        place.guard.begin()


def forget(place: Place) -> None:
    """It is decided; nothing is no error. Raises GaplessError."""
    path = place.home.unconfirmed
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise refusal("remove", str(path), error) from error
    if place.guard:
        place.guard.end()


def refused(home: Path, record: Unconfirmed) -> GaplessError:
    """The refusal of what would decide about it by the way."""
    hint = "`gapless confirm` keeps it, `gapless rollback --yes` turns back; or pass --lock-wait 10m"
    return GaplessError("lock", str(home), str(record), hint, status=BUSY)


def lasts(record: Unconfirmed, clock: Clock = CLOCK) -> bool:
    """Whether it may still be confirmed."""
    return record.left(clock) > 0
