"""gapless deploy [SOURCE], over hosts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gapless.cli.fleet.board import Board, answer, outcome, parts_of, refused, told
from gapless.cli.fleet.choice import lent, words
from gapless.cli.options import Project
from gapless.cli.output import Output
from gapless.config import FILE
from gapless.fleet.asking import ask
from gapless.fleet.deploy import deploy
from gapless.fleet.hosts import Host
from gapless.fleet.parts import Fleet, State
from gapless.linux.disk import refusal
from gapless.release import artifact
from gapless.release.holding import me
from gapless.release.packing import packing

PASSED = ("watch", "prove", "prove_url", "max_latency", "without_backup", "take_over", "lock_wait")


def deploy_to(output: Output, fleet: Fleet, project: Project, source: str | None, *, dry_run: bool) -> None:
    """Pack the source once and deploy it to the hosts."""
    options = words(*PASSED, ours=("project", "dry_run", "lease"))
    leases = lent(fleet)
    board = Board(output)
    with tempfile.TemporaryDirectory(prefix="gapless-deploy-") as folder:
        packed = Path(folder, "artifact")
        if dry_run:
            pack(output, project, source, packed)
            _preview(output, fleet, packed, options)
            return
        rollout = deploy(fleet, packed, me(), options, board)
        rollout.lend(leases)
        with rollout:  # Ansible starts while this packs
            head = pack(output, project, source, packed)
            ended = board.run(rollout, f"{head.short} ({head.id[:12]})")
    parts = rollout.parts
    here = sum(part.state is State.DEPLOYED for part in parts)
    hosts = [told(part, board.seconds(part)) for part in parts]
    document = {"id": head.id, "outcome": outcome(parts, State.DEPLOYED), "hosts": hosts}
    lines = [f"{here} of {len(parts)} hosts have the release."] if here else []
    last = refused("deploy", project.config.name, parts, State.DEPLOYED, ended)
    answer(output, document, lines, parts, last)


def _preview(output: Output, fleet: Fleet, packed: Path, options: Sequence[str]) -> None:
    """Tell what would be done on each host, and what changes there."""
    parts, found = ask(fleet, "deploy", "-", "--dry-run", *options, reads=_steps, observer=Board(output), sends=packed)
    hosts = [
        {"host": one.host.name, "plan": found.get(one.host), "error": parts_of(one.error) if one.error else None}
        for one in parts
    ]
    lines = [line for host, plan in found.items() for line in _steps(host, plan)]
    last = refused("plan a deploy of", fleet.config.name, parts, State.ANSWERED)
    answer(output, {"hosts": hosts}, lines, parts, last)


def _steps(host: Host, plan: dict[str, Any]) -> list[str]:
    """What a host would do."""
    changes = f"Changes: {', '.join(plan['changes'] or ['nothing'])}."
    return [f"{host.name}: {step}" for step in [*plan["plan"], changes]]


def pack(output: Output, project: Project, source: str | None, to: Path, settings: Path | None = None) -> artifact.Head:
    """Write the artifact of the source to a file, and its gapless.toml and what lies over that into `settings`."""
    with packing(project.directory, source) as packed:
        for warning in packed.warnings:
            output.warn(warning)
        try:
            with to.open("wb") as file:
                artifact.write(packed.tree, packed.head, {}, file)
            if settings:
                for one in (packed.tree / FILE, *packed.tree.glob("gapless.*.toml")):
                    shutil.copyfile(one, settings / one.name)
        except OSError as error:
            raise refusal("write", "the artifact", error) from error
        return packed.head
