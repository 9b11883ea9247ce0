"""Orders for hosts while a play is under way: who is told what, and what a host's answers make of its part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gapless.errors import GaplessError
from gapless.fleet import answers
from gapless.fleet.answers import UnreachableError
from gapless.fleet.hosts import Host
from gapless.fleet.parts import Observer, Part, State
from gapless.fleet.play import Answer, Order, Play

# What a document raises that is of another version of gapless, or of a host that lies.
UNREAD = (LookupError, TypeError, AttributeError, ValueError)


@dataclass(frozen=True)
class Step:
    """An order; the state of a host while it follows that (None: as before); what the document makes of its part."""

    order: Order
    state: State | None = None
    done: Callable[[Part, dict[str, Any]], None] = lambda _part, _document: None


Steps = Sequence[tuple[Part, Sequence[Step]]]


def give(play: Play, steps: Steps, observer: Observer) -> None:
    """Have hosts take their steps, side by side, each one after the other until one fails. Raises GaplessError."""
    play.round({part.host: [step.order for step in some] for part, some in steps}, _Round(steps, observer))


class _Round:
    """An observer of a play that keeps the parts of hosts up to date, and tells of each change."""

    def __init__(self, steps: Steps, observer: Observer) -> None:
        self._left = {part.host: (part, [*some]) for part, some in steps}
        self._observer = observer

    def begun(self, host: Host) -> None:
        """Take down what the host is busy with."""
        part, left = self._left[host]
        if left and left[0].state:
            part.state = left[0].state
            self._observer.changed(part)

    def answered(self, host: Host, answer: Answer) -> None:
        """Take down what has become of it; after an error nothing more."""
        part, left = self._left[host]
        before = part.state
        part.warnings += answers.warnings(answer)
        try:
            if left:
                left.pop(0).done(part, answers.document(host, answer))
        except GaplessError as error:
            left.clear()
            part.error = error
            part.state = State.UNREACHABLE if isinstance(error, UnreachableError) else State.FAILED
        except UNREAD:
            left.clear()
            part.error, part.state = answers.unreadable(host, answer), State.FAILED
        if part.state is not before:
            self._observer.changed(part)
