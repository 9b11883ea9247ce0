"""The switchover: one state machine that any manager's instances go through, killable at any instant.

    STARTING ──► PROVEN ──► COMMITTED ─────────────────► DONE
        │           │           │                          ▲
        ▼           ▼           ▼                          │
      FAILED ◄──────┘       WATCHING ── settle ────────────┘
    (nothing that serves        │
     was touched)               └────── turn_back ──► TURNED_BACK

The only durable step is the commit (`Manager.point`, one rename). Whoever dies before it leaves the old
release current, whoever dies after it the new one; `repair` brings either to rest by one rule: an
instance that is not of the current release retires. Turning back is one more commit, of the previous release;
an instance of it that stands by serves again before that.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.switch.manager import Instance, Manager, Readiness, Role


class Step(enum.StrEnum):
    """Where a switchover is."""

    STARTING = "starting"  # the candidate boots and proves itself; it accepts nothing
    PROVEN = "proven"  # it is ready: both releases accept from the one queue
    COMMITTED = "committed"  # the new release is the current one
    WATCHING = "watching"  # it is watched: the old instances stand by, where they can
    DONE = "done"  # the old instances were told to retire
    TURNED_BACK = "turned back"  # the previous release is the current one again, and the new instances retire
    FAILED = "failed"  # the candidate is gone; what served goes on serving


MOVES: dict[Step, frozenset[Step]] = {
    Step.STARTING: frozenset({Step.PROVEN, Step.FAILED}),
    Step.PROVEN: frozenset({Step.COMMITTED, Step.FAILED}),
    Step.COMMITTED: frozenset({Step.WATCHING, Step.DONE}),
    Step.WATCHING: frozenset({Step.DONE, Step.TURNED_BACK}),
    Step.DONE: frozenset(),
    Step.TURNED_BACK: frozenset(),
    Step.FAILED: frozenset(),
}


class Outcome(enum.StrEnum):
    """How a switchover ended."""

    SWITCHED = "switched"
    ALREADY_LIVE = "already live"
    NOT_READY = "not ready"
    NOT_COMMITTED = "not committed"


@dataclass
class Switchover:
    """Replace what is live by `release`; `on_move` hears of every state as it is entered.

    With `keep` it ends in WATCHING instead of DONE, and then either `settle` or `turn_back` is called.
    """

    manager: Manager
    release: str
    timeout: float
    on_move: Callable[[Step], None] = lambda _state: None
    keep: bool = False
    known: str | None = None  # the current release as the caller saw it: its file may be lost since
    state: Step = field(default=Step.STARTING, init=False)
    cause: str = field(default="", init=False)
    hint: str = field(default="", init=False)  # what to try, where it is not the release that is at fault
    log: tuple[str, ...] = field(default=(), init=False)  # a failed candidate's last lines
    instance: Instance | None = field(default=None, init=False)  # of `release`, as it was proven
    previous: str | None = field(default=None, init=False)

    @classmethod
    def watching(cls, manager: Manager, release: str, previous: str) -> Self:
        """One that another process left in WATCHING: `release` is current, and `previous` may stand by."""
        left = cls(manager, release, 0.0, keep=True, known=release)
        left.previous, left.state = previous, Step.WATCHING
        return left

    def run(self) -> Outcome:
        """Switch to `release` and return how that ended; `cause` then says why it failed.

        However it is left, `repair` has run: before the commit the candidate goes, after it the old ones retire. Raises
        what the manager raises, and KeyboardInterrupt.
        """
        self._repair()
        self.known = self.previous = self.manager.current()
        if self.previous == self.release:
            return Outcome.ALREADY_LIVE
        try:
            return self._switch()
        except BaseException:
            self._repair()
            raise

    def _switch(self) -> Outcome:
        self.on_move(self.state)
        started = self.manager.start(self.release, self.timeout)
        if started.instance is None or started.readiness is not Readiness.READY:
            self.cause, self.log = started.cause or started.readiness, started.log
            if started.instance:
                self.manager.stop(started.instance)
            self._move(Step.FAILED)
            return Outcome.NOT_READY
        self.instance = started.instance
        self._move(Step.PROVEN)
        if not self._commit(self.release):
            # The candidate was proven and may have accepted connections: it drains, it is not killed.
            self.manager.retire(started.instance)
            self._move(Step.FAILED)
            return Outcome.NOT_COMMITTED
        self._move(Step.COMMITTED)
        if self.keep:
            self._keep()
            self._move(Step.WATCHING)
        else:
            self._repair()
            self._move(Step.DONE)
        return Outcome.SWITCHED

    def settle(self) -> None:
        """After WATCHING: the commit stands, and what stood by retires. Raises what the manager raises."""
        self._repair()
        self._move(Step.DONE)

    def turn_back(self, timeout: float) -> bool:
        """After WATCHING: make the previous release the current one again; False, with `cause`, if it did not come up.

        At once where an instance of it stands by; otherwise it boots and proves itself within `timeout` seconds.
        Raises what the manager raises; killed before its commit it leaves the new release current, after it the old.
        """
        if self.previous is None:
            raise AssertionError(f"there is nothing to turn back to from {self.release}")
        try:
            turned = self._turn_back(self.previous, timeout)
            self._repair()
        except BaseException:
            self._repair()
            raise
        self._move(Step.TURNED_BACK if turned else Step.DONE)
        return turned

    def _turn_back(self, previous: str, timeout: float) -> bool:
        self._name_again()
        resumed = False
        for one in strays(self.manager):
            if one.release == previous and self.manager.resume(one):
                resumed = True
            else:
                self.manager.retire(one)
        return self._commit(previous) if resumed else self._boot_back(previous, timeout)

    def _commit(self, release: str) -> bool:
        try:
            self.manager.point(release)
        except (GaplessError, OSError) as error:
            if self.manager.current() != release:  # else only what follows the rename failed: it is made
                refused = refusal("commit", release, error) if isinstance(error, OSError) else error
                self.cause, self.hint = str(error), refused.hint
                return False
        self.known = release
        return True

    def _name_again(self) -> None:
        """Write the commit file again should it have been lost since: else all that serves would be strays."""
        if self.known and self.manager.current() is None:
            self.manager.point(self.known)

    def _repair(self) -> None:
        self._name_again()
        repair(self.manager)

    def _boot_back(self, previous: str, timeout: float) -> bool:
        back = Switchover(self.manager, previous, timeout, known=self.known)
        outcome = back.run()
        self.cause = back.cause
        return outcome is Outcome.SWITCHED

    def _keep(self) -> None:
        for one in strays(self.manager):
            if one.release != self.previous or not self.manager.stand_by(one):
                self.manager.retire(one)

    def _move(self, state: Step) -> None:
        if state not in MOVES[self.state]:
            raise AssertionError(f"illegal move of a switchover: {self.state} -> {state}")
        self.state = state
        self.on_move(state)


def repair(manager: Manager) -> list[Instance]:
    """Bring a legal state to rest: retire each of the `strays`; returns those.

    Before the first commit there is no current release, and nothing may serve: everything retires. While the current
    release does not answer, a stray that does is not touched: it may be the last one.
    """
    found, current = strays(manager), manager.current()
    if current and not any(one.ready for one in manager.instances() if one.release == current):
        found = [stray for stray in found if not stray.ready]
    for stray in found:
        manager.retire(stray)
    return found


def strays(manager: Manager) -> list[Instance]:
    """The instances that are neither of the current release nor retiring."""
    current = manager.current()
    return [
        instance
        for instance in manager.instances()
        if instance.release != current and instance.role is not Role.RETIRING
    ]
