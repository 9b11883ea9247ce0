"""Commands that each host answers for itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gapless.errors import GaplessError
from gapless.fleet import answers
from gapless.fleet.hosts import Host
from gapless.fleet.play import Answer, Order, Play


@dataclass(frozen=True)
class Said:
    """What a host's gapless answered: its document, or the error that it, or the way to it, ended with."""

    host: Host
    document: Mapping[str, Any] = field(default_factory=dict)
    error: GaplessError | None = None
    warnings: Sequence[str] = ()


def ask(play: Play, commands: Mapping[Host, Sequence[str]]) -> dict[Host, Answer]:
    """What hosts answer to a command each, side by side, in the next round of the play. Raises GaplessError."""
    collected = _Collected()
    play.round({host: [Order(argv)] for host, argv in commands.items()}, collected)
    return {host: collected.answers[host] for host in commands}


def ask_once(commands: Mapping[Host, Sequence[str]]) -> dict[Host, Answer]:
    """The same, where nothing else is asked. Raises GaplessError."""
    with Play([[*commands]]) as play:
        return ask(play, commands)


def understood(found: Mapping[Host, Answer]) -> list[Said]:
    """Answers of gapless as what they say, in the order of the hosts."""
    return [_said(host, answer) for host, answer in found.items()]


def worst(errors: Iterable[GaplessError | None]) -> int:
    """The exit status of a command whose hosts ended with these errors."""
    return max((error.status for error in errors if error), default=0)


def _said(host: Host, answer: Answer) -> Said:
    try:
        return Said(host, answers.document(host, answer), None, answers.warnings(answer))
    except GaplessError as error:
        return Said(host, {}, error, answers.warnings(answer))


class _Collected:
    """An observer that keeps the last answer of each host."""

    def __init__(self) -> None:
        self.answers = dict[Host, Answer]()

    def begun(self, host: Host) -> None:
        """Nobody is shown that."""

    def answered(self, host: Host, answer: Answer) -> None:
        self.answers[host] = answer
