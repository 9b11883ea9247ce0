"""Where an instance is in its life."""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    """The states of an instance; printed in logs, in STATUS= and in the status document."""

    LOADING = "loading"
    STARTING = "starting"
    CHECKING = "checking"
    WARMING = "warming"
    PROVEN = "proven"  # waits for its sibling workers
    SERVING = "serving"
    DRAINING = "draining"
    STOPPED = "stopped"


# SIGTERM may come at any time: every state may end in STOPPED, but only one that served has something to drain.
MOVES: dict[State, frozenset[State]] = {
    State.LOADING: frozenset({State.STARTING, State.STOPPED}),
    State.STARTING: frozenset({State.CHECKING, State.STOPPED}),
    State.CHECKING: frozenset({State.WARMING, State.STOPPED}),
    State.WARMING: frozenset({State.PROVEN, State.STOPPED}),
    State.PROVEN: frozenset({State.SERVING, State.STOPPED}),
    State.SERVING: frozenset({State.DRAINING}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
}


def move(old: State, new: State) -> State:
    """Return `new` if the table allows it; an illegal move is a bug of ours."""
    if new not in MOVES[old]:
        raise AssertionError(f"illegal move of an instance: {old} -> {new}")
    return new
