"""gapless up [SOURCE], over hosts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gapless.cli.fleet.board import Board, answer, told
from gapless.cli.fleet.choice import words
from gapless.cli.fleet.deploy import pack
from gapless.cli.options import Project
from gapless.cli.output import Output
from gapless.errors import GaplessError
from gapless.fleet.parts import Fleet, Part, State
from gapless.fleet.up import Rise

ANSWERED = ("changed", "deployed", "plan", "diff")  # what a host's document has for all of them


def up_on(output: Output, fleet: Fleet, project: Project, source: str | None, *, dry_run: bool) -> None:
    """Pack the source once, and install it on the hosts."""
    options = words("close_socket", "take_over", "existing_user", "lock_wait", ours=("project", "dry_run"))
    board = Board(output)
    with tempfile.TemporaryDirectory(prefix="gapless-up-") as folder:
        packed, settings = Path(folder, "artifact"), Path(folder, "settings")
        settings.mkdir()
        head = pack(output, project, source, packed, settings)
        rise = Rise(fleet, packed, settings, options, board)
        with board.shown(rise.parts):
            rise.run(dry_run=dry_run)
    last = None
    if bad := [one for one in rise.parts if one.state is not State.UP and (one.error or not dry_run)]:
        cause = "; ".join(f"{one.host.name}: {one.state}" for one in bad)
        hint = "`gapless up` again goes on where it ended; -H names some hosts alone"
        last = GaplessError("install", f"{fleet.config.name} on all hosts", cause, hint)
    hosts = [_document(rise, part, board) for part in rise.parts]
    if dry_run:
        answer(output, {"hosts": hosts}, [line for part in rise.parts for line in _plan(rise, part)], rise.parts, last)
        return
    here = len(rise.parts) - len(bad)
    outcome = "up" if not bad else "incomplete" if here else "failed"
    lines = [line for part in rise.parts for line in _done(rise, part)]
    answer(output, {"id": head.id, "outcome": outcome, "hosts": hosts}, lines, rise.parts, last)


def _document(rise: Rise, part: Part, board: Board) -> dict[str, object]:
    document = rise.documents.get(part.host, {})
    more: dict[str, object] = {key: document[key] for key in ANSWERED if key in document}
    return {**told(part, board.seconds(part)), "prepared": rise.prepared[part.host], **more}


def _plan(rise: Rise, part: Part) -> list[str]:
    """What would be done on a host."""
    plan = [f"{one}." for one in rise.prepared[part.host]]
    document = rise.documents.get(part.host)
    plan += [*document["plan"], *document["diff"]] if document else ["Then what `gapless up` does there."]
    if part.error:
        return []
    return [f"{part.host.name}:", *(f"  {line}" for line in plan or ["Nothing: it is up already."])]


def _done(rise: Rise, part: Part) -> list[str]:
    """What became of a host that is up."""
    if part.state is not State.UP:
        return []
    if not rise.prepared[part.host] and not rise.documents[part.host]["changed"] and not part.release:
        return [f"{part.host.name}: already up: nothing to change."]
    return [f"{part.host.name} is up{f', {part.release} is live' if part.release else ''}."]
