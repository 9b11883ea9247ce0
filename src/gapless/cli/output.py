"""The only place with colour, tables and JSON: everything a person or a program reads goes through here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import click

from gapless.errors import GaplessError
from gapless.linux import standard

# What a terminal obeys, or what is no text: an app, a build or a file's name may hold it. The colours that we use
# ourselves may stay, but nothing that hides what is written, or what follows it.
OBEYED = re.compile(
    "\x1b(?!\\[(?:[0-2]?|3[1-6])m)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|(?!\\A)\r"
)


def in_a_line(text: str) -> str:
    """`text` without a line feed of its own: whatever an app says in it, is no line of ours."""
    return text.replace("\n", "\\n")


def harmless(text: str) -> str:
    """`text` as a terminal is to show it, with what it would obey written out."""
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Output:
    """Writes results to stdout and everything else to stderr; colour only on a terminal."""

    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self.verbose = False
        self._unheard = False  # nobody takes what goes to standard output
        self.only_tells = False  # its answer is all that the command is for

    def result(self, document: Any, *lines: str) -> None:
        """The answer of a command: `document` with --json, otherwise `lines` (also with -q: they were asked for)."""
        if self.json:
            self._echo(json.dumps(document, indent=2), answer=True)
        else:
            for line in lines:
                self._echo(line, answer=True)

    def line(self, document: Any, line: str) -> None:
        """Write an answer of which more follow: each on a line of its own, also with --json."""
        self._echo(json.dumps(document) if self.json else line, answer=True)

    def pass_on(self, line: str, *, err: bool = False) -> None:
        """Write what an instance wrote."""
        self._echo(line, err=err)

    def say(self, text: str) -> None:
        """Progress for a person: nothing with -q or --json."""
        if not self.quiet and not self.json:
            self._echo(text)

    def detail(self, text: str) -> None:
        """More of it, with -v."""
        if self.verbose:
            self.say(text)

    def warn(self, text: str) -> None:
        """Something to know that did not stop the command."""
        self._echo(click.style(f"Warning: {in_a_line(text)}", fg="yellow"), err=True)

    def advise(self, hint: str) -> None:
        """What to try, where nothing failed: nothing with -q or --json."""
        if not self.quiet and not self.json:
            self._try(hint)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        """Lines of aligned columns, two spaces between them."""
        rows = [[in_a_line(cell) for cell in row] for row in rows]
        widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (headings, *rows)
        ]

    def error(self, error: GaplessError) -> None:
        """The four parts of an error, its details first; with --json as a document on stdout."""
        notes: list[str] = getattr(error, "__notes__", [])  # what else went wrong on the way
        if self.json and not self._unheard:
            parts = {"operation": error.operation, "object": error.object, "cause": error.cause, "hint": error.hint}
            more = {"details": list(error.details), "notes": notes, "status": error.status}
            self._echo(json.dumps({"error": parts | more}, indent=2))
            return
        for line in error.details:
            self._echo(click.style(f"  | {line}", dim=True), err=True)
        self._echo(click.style("Error: ", fg="red", bold=True) + in_a_line(str(error)), err=True)
        for note in notes:
            self._echo(f"       {in_a_line(note)}", err=True)
        if error.hint:
            self._try(error.hint)

    def interrupted(self) -> None:
        """Ctrl-C: say so, on a line of its own."""
        self._echo("\nInterrupted.", err=True)

    def _try(self, hint: str) -> None:
        self._echo(click.style("Try:   ", fg="cyan", bold=True) + in_a_line(hint), err=True)

    def _echo(self, text: str, *, err: bool = False, answer: bool = False) -> None:
        """Write; where nobody takes it (a closed terminal or pipe, a full disk) the command goes on without a word.

        Only the answer of a command that does nothing but tell is missed. Raises GaplessError then, or BrokenPipeError
        for a reader that has seen enough.
        """
        try:
            click.echo(harmless(text), err=err)
        except OSError as error:
            standard.give_up(2 if err else 1)
            self._unheard |= not err
            if not (answer and self.only_tells):
                return
            if isinstance(error, BrokenPipeError):
                raise
            raise GaplessError("write", "the answer to standard output", error.strerror or str(error)) from error
