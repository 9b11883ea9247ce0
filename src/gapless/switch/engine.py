"""The switchover: one state machine that any manager's instances go through, killable at any instant.

    STARTING ──► PROVEN ──► COMMITTED ──► DONE
        │           │
        ▼           ▼
      FAILED ◄──────┘         (nothing that serves was touched)

The only durable step is the commit (`Manager.point`, one rename). Whoever dies before it leaves the old
release current, whoever dies after it the new one; `repair` brings either to rest by one rule: an
instance that is not of the current release retires.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from gapless.errors import GaplessError
from gapless.switch.manager import Instance, Manager, Readiness, Role


class State(enum.StrEnum):
    """Where a switchover is."""

    STARTING = "starting"  # the candidate boots and proves itself; it accepts nothing
    PROVEN = "proven"  # it is ready: both releases accept from the one queue
    COMMITTED = "committed"  # the new release is the current one
    DONE = "done"  # the old instances were told to retire
    FAILED = "failed"  # the candidate is gone; what served goes on serving


MOVES: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.PROVEN, State.FAILED}),
    State.PROVEN: frozenset({State.COMMITTED, State.FAILED}),
    State.COMMITTED: frozenset({State.DONE}),
    State.DONE: frozenset(),
    State.FAILED: frozenset(),
}


class Outcome(enum.StrEnum):
    """How a switchover ended."""

    SWITCHED = "switched"
    ALREADY_LIVE = "already live"
    NOT_READY = "not ready"
    NOT_COMMITTED = "not committed"


@dataclass
class Switchover:
    """Replace what is live by `release`; `on_move` hears of every state as it is entered."""

    manager: Manager
    release: str
    timeout: float
    on_move: Callable[[State], None] = lambda _state: None
    state: State = field(default=State.STARTING, init=False)
    cause: str = field(default="", init=False)
    log: tuple[str, ...] = field(default=(), init=False)  # a failed candidate's last lines

    def run(self) -> Outcome:
        """Do it, and name how it ended; `cause` then says why. Raises what the manager raises, and KeyboardInterrupt.

        However it is left, `repair` has run: before the commit the candidate goes, after it the old ones retire.
        """
        repair(self.manager)
        if self.manager.current() == self.release:
            return Outcome.ALREADY_LIVE
        try:
            return self._switch()
        except BaseException:
            repair(self.manager)
            raise

    def _switch(self) -> Outcome:
        self.on_move(self.state)
        started = self.manager.start(self.release, self.timeout)
        if started.readiness is not Readiness.READY:
            self.cause, self.log = started.cause or started.readiness, started.log
            self.manager.stop(started.instance)
            self._move(State.FAILED)
            return Outcome.NOT_READY
        self._move(State.PROVEN)
        try:
            self.manager.point(self.release)
        except (GaplessError, OSError) as error:
            if self.manager.current() != self.release:  # else only what follows the rename failed: it is made
                # The candidate was proven and may have accepted connections: it drains, it is not killed.
                self.cause = str(error)
                self.manager.retire(started.instance)
                self._move(State.FAILED)
                return Outcome.NOT_COMMITTED
        self._move(State.COMMITTED)
        repair(self.manager)
        self._move(State.DONE)
        return Outcome.SWITCHED

    def _move(self, state: State) -> None:
        if state not in MOVES[self.state]:
            raise AssertionError(f"illegal move of a switchover: {self.state} -> {state}")
        self.state = state
        self.on_move(state)


def repair(manager: Manager) -> list[Instance]:
    """Bring a legal state to rest: retire each instance that is neither current nor retiring; returns those.

    Before the first commit there is no current release, and nothing may serve: everything retires.
    """
    current = manager.current()
    strays = [
        instance
        for instance in manager.instances()
        if instance.release != current and instance.role is not Role.RETIRING
    ]
    for stray in strays:
        manager.retire(stray)
    return strays
