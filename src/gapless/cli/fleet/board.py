"""What is shown of many hosts: a live table on a terminal, plain lines elsewhere, one document, one last error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from gapless.cli.output import Output, harmless, in_a_line
from gapless.errors import GaplessError
from gapless.fleet.parts import Part, State
from gapless.fleet.rollout import BUSY, Rollout
from gapless.span import show

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

COLOURS = {
    **dict.fromkeys((State.DEPLOYED, State.ROLLED_BACK, State.PROVEN), "green"),
    **dict.fromkeys((State.FAILED, State.UNREACHABLE), "red"),
    **dict.fromkeys((State.TURNED_BACK, State.TURNING_BACK), "yellow"),
}
UNTOLD = {State.ASKED, State.WAITING, State.ANSWERED, State.KEEPING}  # but in the table: nothing happens there
WAITED = {State.DEPLOYED, State.ROLLED_BACK}  # for the other hosts, since it was proven itself
INTERRUPTED = 130  # the status of a command that Ctrl-C ended
HEADINGS = ("HOST", "WAVE", "STATE", "RELEASE", "TIME")


class Board:
    """An observer that shows the parts of all hosts."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._live: Live | None = None
        self._parts = list[Part]()
        self._since = dict[str, float]()  # by host: when it began; then how long it took
        self._took = dict[str, float]()

    @contextmanager
    def shown(self, parts: Sequence[Part]) -> Iterator[None]:
        """Show the parts of hosts while the block runs."""
        self._parts = [*parts]
        if self._output.quiet or self._output.json or not sys.stdout.isatty():
            yield
            return
        from rich.live import Live  # only a terminal pays for it

        self._live = Live(get_renderable=self._table, refresh_per_second=4)
        try:
            with self._live:
                yield
        finally:
            self._live = None

    def run(self, rollout: Rollout, name: str) -> GaplessError | None:
        """Show a rollout to `name` while it runs; returns what ended it before its time, if anything did."""
        with self.shown(rollout.parts):
            try:
                rollout.run(name)
            except KeyboardInterrupt:
                return GaplessError("finish", name, "it was interrupted", status=INTERRUPTED)
            except GaplessError as error:  # of Ansible: hosts are to be named all the same
                return error
        return None

    def changed(self, part: Part) -> None:
        """Take down that a host has come further."""
        name, now = part.host.name, time.monotonic()
        if part.state in UNTOLD:
            return
        since = now if part.state is State.SPARED else self._since.setdefault(name, now)
        if part.state not in (*WAITED, State.SPARED):
            self._took[name] = now - since
        if self._live is None:
            release = f" {part.release}" if part.release else ""
            took = "" if part.state.busy or now == since else f", {show(self._took.get(name, 0.0))}"
            self._output.say(in_a_line(f"{name}: {part.state}{release}{took}"))

    def seconds(self, part: Part) -> float | None:
        """How long a host took for what it did; None where it did nothing."""
        return self._took.get(part.host.name)

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(*HEADINGS, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for part in self._parts:
            took = self._took.get(part.host.name)
            if part.state.busy and part.host.name in self._since:
                took = time.monotonic() - self._since[part.host.name]
            cells = (part.host.name, str(part.wave), part.state, part.release or "", "" if took is None else show(took))
            table.add_row(*(Text(harmless(in_a_line(one)), COLOURS.get(part.state, "")) for one in cells))
        return table


def told(part: Part, seconds: float | None) -> dict[str, object]:
    """A host's part as a document."""
    return {
        "host": part.host.name,
        "wave": part.wave,
        "state": part.state,
        "release": part.release,
        "previous": part.previous,
        "seconds": seconds,
        "warnings": part.warnings,
        "error": parts_of(part.error) if part.error else None,
    }


def parts_of(error: GaplessError) -> dict[str, object]:
    """An error as documents have it."""
    parts = {"operation": error.operation, "object": error.object, "cause": error.cause, "hint": error.hint}
    notes: list[str] = getattr(error, "__notes__", [])
    return {**parts, "details": [*error.details], "notes": notes, "status": error.status}


def answer(
    output: Output,
    document: Mapping[str, object],
    lines: Sequence[str],
    parts: Sequence[Part],
    last: GaplessError | None = None,
) -> None:
    """Answer for all hosts; where not all is well, with the errors of hosts and the `last`, which ends the command."""
    if output.json:
        output.result({**document} | ({"error": parts_of(last)} if last else {}))
    else:
        output.result(None, *map(in_a_line, lines))
        for part in parts:
            for warning in part.warnings:
                output.warn(f"{part.host.name}: {warning}")
        for error in [*(part.error for part in parts), last]:
            if error:
                output.error(error)
    if last:
        click.get_current_context().exit(last.status)


def refused(
    verb: str, name: str, parts: Sequence[Part], wanted: State, ended: GaplessError | None = None
) -> GaplessError | None:
    """What ends a command that was to bring every host to `wanted`, or was `ended`; None where each came to it."""
    if not (bad := [part for part in parts if part.state is not wanted]):
        return None
    by_state = dict[State, list[str]]()
    for part in bad:
        by_state.setdefault(part.state, []).append(part.host.name)
    cause = "; ".join(f"{', '.join(names)}: {state}" for state, names in by_state.items())
    hint = "`gapless status` shows what each host has; the next `gapless deploy` brings all to one release"
    busy = any(part.error and part.error.status == BUSY for part in bad)
    if ended:
        why = ended.cause if ended.status == INTERRUPTED else str(ended)
        cause = f"{why}; {cause}"
        return GaplessError(verb, f"{name} on all hosts", cause, hint, details=ended.details, status=ended.status)
    return GaplessError(verb, f"{name} on all hosts", cause, hint, status=BUSY if busy else 1)


def outcome(parts: Sequence[Part], wanted: State) -> str:
    """How that ended, in a word for documents."""
    there = sum(part.state is wanted for part in parts)
    return wanted if there == len(parts) else "incomplete" if there else "failed"
