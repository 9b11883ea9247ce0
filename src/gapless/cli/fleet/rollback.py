"""gapless rollback [RELEASE], over hosts."""

from __future__ import annotations

import sys

import click

from gapless.cli.fleet.board import Board, answer, outcome, refused, told
from gapless.cli.fleet.choice import lent, words
from gapless.cli.output import Output
from gapless.fleet.asking import ask
from gapless.fleet.parts import Fleet, Part, State
from gapless.fleet.rollback import good, roll_back, target
from gapless.release.holding import me


def rollback_on(output: Output, fleet: Fleet, release: str | None, *, dry_run: bool, yes: bool) -> None:
    """Have all hosts go back to one release."""
    options = words(
        "watch", "prove", "prove_url", "max_latency", "lock_wait", ours=("project", "dry_run", "yes", "lease")
    )
    leases = lent(fleet)
    board = Board(output)
    parts, found = ask(fleet, "releases", reads=lambda _host, one: good(one, older=False), observer=board)
    there = [Part(part.host) for part in parts if part.host in found]
    lost = [part for part in parts if part.host not in found]
    to = target(fleet.config.name, found, release) if found else {}
    plan = [f"Have {host.name} go back to {one}." for host, one in to.items()]
    if dry_run:
        answer(output, {"plan": plan}, plan, lost, refused("roll back", fleet.config.name, lost, State.ROLLED_BACK))
        return
    if not yes and not output.json and sys.stdin.isatty():
        click.confirm("\n".join([*plan, "Do that?"]), default=True, abort=True)
    ended = None
    if there:
        rollout = roll_back(fleet, there, to, me(), options, board)
        rollout.lend(leases)
        with rollout:
            ended = board.run(rollout, next(iter(to.values())))
    parts = [*there, *lost]
    back = sum(part.state is State.ROLLED_BACK for part in parts)
    hosts = [told(part, board.seconds(part)) for part in parts]
    document = {"outcome": outcome(parts, State.ROLLED_BACK), "hosts": hosts}
    lines = [f"{back} of {len(parts)} hosts have gone back."] if back else []
    last = refused("roll back", fleet.config.name, parts, State.ROLLED_BACK, ended)
    answer(output, document, lines, parts, last)
