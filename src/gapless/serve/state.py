"""Where an instance is in its life."""

from __future__ import annotations

import enum

from gapless.errors import GaplessError


class State(enum.StrEnum):
    """The states of an instance; printed in logs, in STATUS= and in the status document."""

    LOADING = "loading"
    STARTING = "starting"
    CHECKING = "checking"
    WARMING = "warming"
    PROVEN = "proven"  # waits for its sibling workers
    SERVING = "serving"
    STANDING_BY = "standing by"  # accepts nothing until told to, finishes what it had accepted
    DRAINING = "draining"
    STOPPED = "stopped"


# SIGTERM may come at any time: every state may end in STOPPED, but only one that served has something to drain.
MOVES: dict[State, frozenset[State]] = {
    State.LOADING: frozenset({State.STARTING, State.STOPPED}),
    State.STARTING: frozenset({State.CHECKING, State.STOPPED}),
    State.CHECKING: frozenset({State.WARMING, State.STOPPED}),
    State.WARMING: frozenset({State.PROVEN, State.STOPPED}),
    State.PROVEN: frozenset({State.SERVING, State.STOPPED}),
    State.SERVING: frozenset({State.STANDING_BY, State.DRAINING}),
    State.STANDING_BY: frozenset({State.SERVING, State.DRAINING}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
}


def move(old: State, new: State) -> State:
    """Return `new` if the table allows it; an illegal move is a bug of ours."""
    if new not in MOVES[old]:
        raise AssertionError(f"illegal move of an instance: {old} -> {new}")
    return new


ON_DUTY = (State.SERVING, State.STANDING_BY)  # proven, and not told to go


def must_turn(old: State, wanted: State) -> bool:
    """Whether an instance that serves or stands by has to change to do as `wanted`; raises GaplessError for others."""
    if old not in ON_DUTY:
        raise GaplessError("turn to", wanted, f"the instance is {old}", "only one that serves can stand by and resume")
    return old is not wanted
