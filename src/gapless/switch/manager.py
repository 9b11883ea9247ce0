"""The protocol between the engine and whatever holds the socket and runs the instances."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Role(enum.StrEnum):
    """What an instance is to the switchover: derived from the current release and from who was told to retire."""

    CANDIDATE = "candidate"
    LIVE = "live"
    RETIRING = "retiring"

    @classmethod
    def of(cls, *, current: bool, retiring: bool) -> Role:
        """The role of an instance that was told to retire, or is of the `current` release, or neither."""
        if retiring:
            return cls.RETIRING
        return cls.LIVE if current else cls.CANDIDATE


class Readiness(enum.StrEnum):
    """How waiting for a candidate ended."""

    READY = "ready"  # it said READY=1: it is proven, and it accepts
    EXITED = "exited"  # it ended before it was ready
    TIMED_OUT = "timed out"  # it is still there, but not ready


@dataclass(frozen=True)
class Instance:
    """One running release. `id` is unique among the manager's instances, `since` is Unix time in seconds.

    `private` is the path of its private socket, which only a gapless server opens; empty: none is known. `unit` is what
    systemd calls it; empty under another manager.
    """

    id: str
    release: str
    role: Role
    pid: int
    since: float
    ready: bool
    private: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Started:
    """A candidate and how its start ended; when it is not READY `cause` says it in words, `log` are its last lines.

    Without an `instance` nothing was started. A manager that writes to the release's log file leaves `log` empty.
    """

    instance: Instance | None
    readiness: Readiness
    cause: str = ""
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Companion:
    """A process or a timer of a release. `trouble` says in words what is wrong with it; "" is nothing.

    `state` is as the manager says it; `restarts` are those since the release became the current one.
    """

    name: str
    kind: str  # "process" or "timer"
    release: str
    unit: str
    state: str
    restarts: int
    trouble: str


class Guard(Protocol):
    """Has somebody turn back from a release that nobody confirms, whoever deployed it being dead, and after a boot."""

    def begin(self) -> None:
        """From now on. Raises GaplessError."""

    def end(self) -> None:
        """No more; a second time is no error. Raises GaplessError."""


class Manager(Protocol):
    """Holds the sockets and runs instances. Contract (tests/contract runs it on every manager):

    - The sockets stay open and listening whatever happens to instances or to the caller.
    - `start` returns READY only for a candidate that said so itself; it never touches another instance.
    - A candidate that exits before it is ready is not started again.
    - `retire` and `stop` on an instance that is gone are no errors: every call can be repeated.
    - `point` is one atomic rename: `current` is the old release or the new one, at any instant.
    - When the live instance (that of `current`) dies, the manager starts it again; never another release.
    - The caller may die at any instruction; instances go on.

    Each raises GaplessError when the manager itself cannot be reached or refuses.
    """

    @property
    def commit(self) -> Path:
        """The one file that names the current release."""

    def start(self, release: str, timeout: float) -> Started:
        """Start a candidate of `release` and wait at most `timeout` seconds for its readiness."""

    def retire(self, instance: Instance) -> None:
        """Tell an instance to stop accepting and to drain; returns at once. It ends by itself."""

    def stand_by(self, instance: Instance) -> bool:
        """Have an instance accept no more connections, but stay; False if it cannot. It raises nothing."""

    def resume(self, instance: Instance) -> bool:
        """Have an instance that stands by accept again; False if it cannot. It raises nothing."""

    def pause(self, instance: Instance) -> bool:
        """As `stand_by`, and have it read nothing from connections that wait for a request, either."""

    def arm(self, instance: Instance, seconds: float) -> None:
        """See to it that an instance accepts again in so many `seconds`, whatever becomes of the caller.

        There is one such timer: the one before is disarmed.
        """

    def disarm(self) -> None:
        """Forget the timer; none is no error."""

    def stop(self, instance: Instance) -> None:
        """End an instance now and wait until it is gone: for candidates that were never ready."""

    def instances(self) -> Sequence[Instance]:
        """Every instance that runs, oldest first, those that only drain included."""

    def companions(self) -> Sequence[Companion]:
        """The processes and timers of the current release, and those of others that are not as they should be."""

    def in_use(self) -> Collection[str]:
        """The releases of which anything runs: a server, a drain, a worker, a job, an exec, what they started."""

    def tidy(self) -> None:
        """Remove what is kept of releases that are gone."""

    def point(self, release: str) -> None:
        """Commit: name `release` as the current one, durably and atomically."""

    def current(self) -> str | None:
        """The release that the commit file names; None before the first, and where the file is lost or is no use."""
