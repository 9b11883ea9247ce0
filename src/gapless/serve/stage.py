"""Where an instance is in its life."""

from __future__ import annotations

import enum

from gapless.errors import GaplessError


class Stage(enum.StrEnum):
    """The states of an instance; printed in logs, in STATUS= and in the status document."""

    LOADING = "loading"
    STARTING = "starting"
    CHECKING = "checking"
    WARMING = "warming"
    PROVEN = "proven"  # waits for its sibling workers
    SERVING = "serving"
    STANDING_BY = "standing by"  # accepts nothing until told to, finishes what it had accepted
    PAUSED = "paused"  # the same, and reads nothing from connections without a request either
    DRAINING = "draining"
    STOPPED = "stopped"


# SIGTERM may come at any time: every state may end in STOPPED, but only one that served has something to drain.
MOVES: dict[Stage, frozenset[Stage]] = {
    Stage.LOADING: frozenset({Stage.STARTING, Stage.STOPPED}),
    Stage.STARTING: frozenset({Stage.CHECKING, Stage.STOPPED}),
    Stage.CHECKING: frozenset({Stage.WARMING, Stage.STOPPED}),
    Stage.WARMING: frozenset({Stage.PROVEN, Stage.STOPPED}),
    Stage.PROVEN: frozenset({Stage.SERVING, Stage.STOPPED}),
    Stage.SERVING: frozenset({Stage.STANDING_BY, Stage.PAUSED, Stage.DRAINING}),
    Stage.STANDING_BY: frozenset({Stage.SERVING, Stage.PAUSED, Stage.DRAINING}),
    Stage.PAUSED: frozenset({Stage.SERVING, Stage.STANDING_BY, Stage.DRAINING}),
    Stage.DRAINING: frozenset({Stage.STOPPED}),
    Stage.STOPPED: frozenset(),
}


def move(old: Stage, new: Stage) -> Stage:
    """Return `new` if the table allows it; an illegal move is a bug of ours."""
    if new not in MOVES[old]:
        raise AssertionError(f"illegal move of an instance: {old} -> {new}")
    return new


ON_DUTY = (Stage.SERVING, Stage.STANDING_BY, Stage.PAUSED)  # proven, and not told to go


def must_turn(old: Stage, wanted: Stage) -> bool:
    """Whether an instance that is ON_DUTY has to change to do as `wanted`; raises GaplessError for others."""
    if old not in ON_DUTY:
        raise GaplessError("turn to", wanted, f"the instance is {old}", "only one that serves can stand by and resume")
    return old is not wanted
