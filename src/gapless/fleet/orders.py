"""Orders for hosts while a play is under way: who is told what, and what a host's answers make of its part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gapless.errors import GaplessError
from gapless.fleet import answers
from gapless.fleet.answers import UnreachableError
from gapless.fleet.hosts import Host
from gapless.fleet.parts import Observer, Part, State
from gapless.fleet.play import Answer, Order, Play

# What an order that was done makes of a host's part: its number, and the document that it ended with.
Done = Callable[[Part, int, dict[str, Any]], None]


class Round:
    """An observer of a play that keeps the parts of hosts up to date, and tells of each change."""

    def __init__(self, parts: Mapping[Host, Part], states: Sequence[State], done: Done, observer: Observer) -> None:
        self._parts = parts
        self._states = states
        self._done = done
        self._observer = observer

    def begun(self, host: Host, number: int) -> None:
        """Take down what the host is busy with."""
        self._parts[host].state = self._states[number]
        self._observer.changed(self._parts[host])

    def answered(self, host: Host, said: Sequence[Answer]) -> None:
        """Take down what has become of it."""
        part = self._parts[host]
        part.warnings += [one for answer in said for one in answers.warnings(answer)]
        try:
            for number, answer in enumerate(said):
                self._done(part, number, answers.document(host, answer))
        except GaplessError as error:
            part.error = error
            part.state = State.UNREACHABLE if isinstance(error, UnreachableError) else State.FAILED
        self._observer.changed(part)


def give(
    play: Play,
    orders: Sequence[tuple[Part, Sequence[Order]]],
    states: Sequence[State],
    done: Done,
    observer: Observer,
) -> None:
    """Give hosts their orders, side by side; `states` are what a host is in while it does each of them."""
    parts = {part.host: part for part, _ in orders}
    play.round({part.host: some for part, some in orders}, Round(parts, states, done, observer))
