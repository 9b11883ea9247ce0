"""What a host's gapless said, whole: its document, or its error with the host's name."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from gapless.errors import GaplessError
from gapless.fleet.hosts import Host
from gapless.fleet.play import Answer

LAST = 20  # lines of what is no document


class UnreachableError(GaplessError):
    """A host was not reached, or no more: what it did of an order is not known."""


class _Error(msgspec.Struct):
    operation: str
    object: str
    cause: str
    hint: str
    details: list[str]
    notes: list[str]
    status: int


def document(host: Host, answer: Answer) -> dict[str, Any]:
    """The document that a host's gapless answered. Raises GaplessError where it failed, or was not reached."""
    if error := unreachable(host, answer):
        raise error
    try:
        found: Any = json.loads(answer.said)
        failed = msgspec.convert(found["error"], _Error) if found.get("error") else None
    except (ValueError, AttributeError, RecursionError) as wrong:
        raise unreadable(host, answer) from wrong
    if failed:
        raise _passed_on(host, failed)
    return dict(found)


def unreadable(host: Host, answer: Answer) -> GaplessError:
    """The error of a host whose answer is not what was asked for."""
    lines = (answer.said + answer.errors).splitlines()
    cause = f"it ended with {answer.status}, without an answer"
    if answer.status in (126, 127):
        cause = "it is not there"
    hint = f"install this version there: `{host.ssh} gapless --version` shows which it has"
    return GaplessError("run", f"gapless on {host.name}", cause, hint, details=tuple(lines[-LAST:]))


def unreachable(host: Host, answer: Answer) -> UnreachableError | None:
    """The error of a host that was not reached; None of one that was."""
    if not answer.unreachable:
        return None
    hint = f"does `{host.ssh} true` work? then repeat this"
    return UnreachableError("reach", host.name, _in_a_line(answer.unreachable), hint)


def warnings(answer: Answer) -> list[str]:
    """What the host's gapless warned of."""
    lines = answer.errors.splitlines()
    return [line.removeprefix("Warning: ") for line in lines if line.startswith("Warning: ")]


def _passed_on(host: Host, error: _Error) -> GaplessError:
    """The error of a host, with its name; what it advises is to be done there."""
    passed = GaplessError(
        error.operation,
        f"{error.object} on {host.name}",
        error.cause,
        f"on {host.name}: {error.hint}" if error.hint else "",
        details=tuple(error.details),
        status=error.status,
    )
    for note in error.notes:
        passed.add_note(note)
    return passed


def _in_a_line(text: str) -> str:
    return " ".join(text.split())
