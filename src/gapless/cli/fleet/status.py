"""gapless status, over hosts."""

from __future__ import annotations

from typing import Any

import click

from gapless.cli.fleet.board import Board, answer, parts_of
from gapless.cli.output import Output
from gapless.fleet.asking import ask
from gapless.fleet.parts import Fleet, Part

SHOWN = 12  # characters of an id


def status_of(output: Output, fleet: Fleet) -> None:
    """Tell what each host serves, and whether that is one release; exit status 1 where a host serves none."""
    parts, found = ask(fleet, "status", reads=lambda host, one: _row(Part(host), one), observer=Board(output))
    seen = [(part, found.get(part.host)) for part in parts]
    ids = {one["id"] for one in found.values()}
    document = {
        "same": len(ids) == 1 and None not in ids,
        "hosts": [
            {
                "host": part.host.name,
                "status": status,
                "error": parts_of(part.error) if part.error else None,
            }
            for part, status in seen
        ],
    }
    lines = output.table(
        ("HOST", "STATE", "RELEASE", "CONTENT", "CONNECTIONS", "UNDER WAY", "NOTE"),
        [_row(part, status) for part, status in seen],
    )
    if len(ids) > 1:
        lines.append("The hosts do not have one release: the next `gapless deploy` brings all to one.")
    answer(output, document, lines, parts)
    if not all(status and _live(status) for _, status in seen):
        click.get_current_context().exit(1)


def _row(part: Part, status: dict[str, Any] | None) -> tuple[str, ...]:
    if status is None:
        return part.host.name, part.state, "", "", "", "", ""
    live = _live(status)
    told = (live["status"] or {"state": "ready"}) if live else {"state": "nothing serves"}
    counts = tuple(str(told.get(key, "?")) for key in ("connections", "requests"))
    release, id_ = status["current"] or "none", (status["id"] or "")[:SHOWN]
    return part.host.name, told["state"], release, id_, *counts, _note(status)


def _live(status: dict[str, Any]) -> dict[str, Any] | None:
    """The instance that serves; None where none does."""
    return next((one for one in status["instances"] if one["role"] == "live" and one["ready"]), None)


def _note(status: dict[str, Any]) -> str:
    """What keeps the host from the usual."""
    notes = []
    if paused := status["paused"]:
        notes.append(f"paused by {paused['who']}")
    if waits := status["unconfirmed"]:
        notes.append(f"{waits['release']} waits to be confirmed, else {waits['previous']} serves again")
    if holder := status["locked_by"]:
        notes.append(f"locked by {holder['who']}: {holder['why']}")
    last = status["last"]
    if last and last["outcome"] != "succeeded":
        notes.append(f"the last {last['verb']}, to {last['to']}: {last['outcome']}")
    return "; ".join(notes)
