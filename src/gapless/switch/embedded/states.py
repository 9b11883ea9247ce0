"""What an instance goes through under the embedded supervisor: one enum, one table of moves."""

from __future__ import annotations

import enum


class InstanceState(enum.StrEnum):
    """Where an instance is; it is ready in READY and DRAINING, and retiring in LEAVING and DRAINING."""

    BOOTING = "booting"  # it was started and has not said READY=1
    READY = "ready"  # it said so
    LEAVING = "leaving"  # it was told to go before it was ready: it has accepted nothing
    DRAINING = "draining"  # it finishes what it accepted
    GONE = "gone"

    @property
    def is_ready(self) -> bool:
        return self in {InstanceState.READY, InstanceState.DRAINING}

    @property
    def is_retiring(self) -> bool:
        return self in {InstanceState.LEAVING, InstanceState.DRAINING}


MOVES: dict[InstanceState, frozenset[InstanceState]] = {
    InstanceState.BOOTING: frozenset({InstanceState.READY, InstanceState.LEAVING, InstanceState.GONE}),
    InstanceState.READY: frozenset({InstanceState.DRAINING, InstanceState.GONE}),
    # READY=1 crossed with the signal: it may have accepted a connection, so it gets the whole drain.
    InstanceState.LEAVING: frozenset({InstanceState.DRAINING, InstanceState.GONE}),
    InstanceState.DRAINING: frozenset({InstanceState.GONE}),
    InstanceState.GONE: frozenset(),
}
