"""What a host's gapless said, whole: its document, or its error with the host's name."""

from __future__ import annotations

import json
from typing import Any

from gapless.errors import GaplessError
from gapless.fleet.hosts import Host
from gapless.fleet.play import Answer

LAST = 20  # lines of what is no document


class UnreachableError(GaplessError):
    """A host was not reached, or no more: what it did of an order is not known."""


def document(host: Host, answer: Answer) -> dict[str, Any]:
    """The document that a host's gapless answered. Raises GaplessError where it failed, or was not reached."""
    if error := unreachable(host, answer):
        raise error
    try:
        found: dict[str, Any] = json.loads(answer.said)
        error = found.get("error") if isinstance(found, dict) else {}
    except ValueError:
        error = None
        found = {}
    if not isinstance(found, dict) or (not found and answer.said.strip() != "{}"):
        lines = (answer.said + answer.errors).splitlines()
        cause = f"it ended with {answer.status}, without an answer"
        if answer.status in (126, 127):
            cause = "it is not there"
        hint = f"install this version there: `{host.ssh} gapless --version` shows which it has"
        raise GaplessError("run", f"gapless on {host.name}", cause, hint, details=tuple(lines[-LAST:]))
    if error:
        raise _passed_on(host, error)
    return found


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


def _passed_on(host: Host, error: dict[str, Any]) -> GaplessError:
    """The error of a host, with its name; what it advises is to be done there."""
    passed = GaplessError(
        error["operation"],
        f"{error['object']} on {host.name}",
        error["cause"],
        f"on {host.name}: {error['hint']}" if error["hint"] else "",
        details=tuple(error["details"]),
        status=error["status"],
    )
    for note in error["notes"]:
        passed.add_note(note)
    return passed


def _in_a_line(text: str) -> str:
    return " ".join(text.split())
