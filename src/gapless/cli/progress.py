"""Shows the phases of a deploy with their times: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from gapless.cli.output import Output, in_a_line
from gapless.release.ledger import SWITCH, TURN_BACK, Outcome
from gapless.release.watch import BASELINE, WATCH
from gapless.span import show

if TYPE_CHECKING:
    from rich.status import Status

WORDS = {
    "install": "Installing the source",
    "build": "Building",
    "back up": "Bringing the replica of the database up to date",
    "migrate": "Migrating",
    BASELINE: "Probing what serves now",
    SWITCH: "Starting and proving the candidate",
    WATCH: "Watching it, with the previous release in reserve",
    TURN_BACK: "Turning back",
    "prune": "Removing old releases",
}
MARKS = {Outcome.SUCCEEDED: ("✓", "green"), Outcome.FAILED: ("✗", "red"), Outcome.INTERRUPTED: ("!", "yellow")}


class Progress:
    """An observer of the release steps."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._live: Status | None = None

    def phase_started(self, name: str) -> None:
        if self._output.quiet or self._output.json or self._output.verbose or not sys.stdout.isatty():
            return
        from rich.console import Console  # only a terminal pays for it

        self._live = Console().status(f"{WORDS.get(name, name)} …")
        self._live.start()

    def phase_ended(self, name: str, seconds: float, outcome: Outcome) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        mark, colour = MARKS[outcome]
        self._output.say(f"{click.style(mark, fg=colour)} {name:<11} {show(seconds):>8}")

    def said(self, line: str) -> None:
        self._output.detail(f"  | {in_a_line(line)}")

    def warning(self, text: str) -> None:
        self._output.warn(text)
