"""gapless rollback [RELEASE], over hosts."""

from __future__ import annotations

import sys

import click

from gapless.cli.fleet.board import Board, answer, told
from gapless.cli.fleet.choice import words
from gapless.cli.options import stop_like_ctrl_c
from gapless.cli.output import Output
from gapless.errors import GaplessError
from gapless.fleet.asking import ask
from gapless.fleet.parts import Fleet, Part, State
from gapless.fleet.rollback import roll_back, target


def rollback_on(output: Output, fleet: Fleet, release: str | None, *, dry_run: bool, yes: bool) -> None:
    """Have all hosts go back to one release."""
    board = Board(output)
    parts, found = ask(fleet, "releases", observer=board)
    there = [Part(part.host) for part in parts if part.host in found]
    lost = [part for part in parts if part.host not in found]
    to = target(fleet.config.name, found, release) if found else {}
    plan = [f"Have {host.name} go back to {one}." for host, one in to.items()]
    if dry_run:
        answer(output, {"plan": plan}, plan, lost, _refused(fleet, lost))
        return
    if not yes and not output.json and sys.stdin.isatty():
        click.confirm("\n".join([*plan, "Do that?"]), default=True, abort=True)
    stop_like_ctrl_c()
    if there:
        with board.shown(there):
            roll_back(fleet, there, to, words("watch", "prove", "prove_url", "max_latency", "lock_wait"), board)
    parts = [*there, *lost]
    back = sum(part.state is State.ROLLED_BACK for part in parts)
    outcome = "rolled back" if back == len(parts) else "incomplete" if back else "failed"
    document = {"outcome": outcome, "hosts": [told(part, board.seconds(part)) for part in parts]}
    lines = [f"{back} of {len(parts)} hosts have gone back."] if back else []
    answer(
        output, document, lines, parts, _refused(fleet, [one for one in parts if one.state is not State.ROLLED_BACK])
    )


def _refused(fleet: Fleet, bad: list[Part]) -> GaplessError | None:
    """What ends a rollback that not every host took part in; None where each did."""
    if not bad:
        return None
    cause = "; ".join(f"{part.host.name}: {part.state}" for part in bad)
    hint = "`gapless status` shows which release each host has; repeat this when all can be reached"
    return GaplessError("roll back", f"{fleet.config.name} on all hosts", cause, hint)
