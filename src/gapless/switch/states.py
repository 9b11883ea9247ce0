"""What an instance goes through under the embedded supervisor: one enum, one table of moves."""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    """Where an instance is; it is ready in READY and DRAINING, and retiring in LEAVING and DRAINING."""

    BOOTING = "booting"  # it was started and has not said READY=1
    READY = "ready"  # it said so
    LEAVING = "leaving"  # it was told to go before it was ready: it has accepted nothing
    DRAINING = "draining"  # it finishes what it accepted
    GONE = "gone"

    @property
    def is_ready(self) -> bool:
        return self in {State.READY, State.DRAINING}

    @property
    def is_retiring(self) -> bool:
        return self in {State.LEAVING, State.DRAINING}


MOVES: dict[State, frozenset[State]] = {
    State.BOOTING: frozenset({State.READY, State.LEAVING, State.GONE}),
    State.READY: frozenset({State.DRAINING, State.GONE}),
    # READY=1 crossed with the signal: it may have accepted a connection, so it gets the whole drain.
    State.LEAVING: frozenset({State.DRAINING, State.GONE}),
    State.DRAINING: frozenset({State.GONE}),
    State.GONE: frozenset(),
}
