"""gapless deploy [SOURCE], over hosts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gapless.cli.fleet.board import Board, answer, told
from gapless.cli.fleet.choice import words
from gapless.cli.options import Project, stop_like_ctrl_c
from gapless.cli.output import Output
from gapless.config import FILE
from gapless.errors import GaplessError
from gapless.fleet import deploy
from gapless.fleet.parts import Fleet, Part, State
from gapless.linux.disk import refusal
from gapless.release import artifact
from gapless.release.holding import me
from gapless.release.packing import packing


def deploy_to(output: Output, fleet: Fleet, project: Project, source: str | None) -> None:
    """Pack the source once and deploy it to the hosts."""
    options = words("watch", "prove", "prove_url", "max_latency", "without_backup", "take_over", "lock_wait")
    stop_like_ctrl_c()
    board = Board(output)
    with tempfile.TemporaryDirectory(prefix="gapless-deploy-") as folder:
        packed = Path(folder, "artifact")
        head = pack(output, project, source, packed)
        rollout = deploy.Rollout(fleet, packed, options, board, me(), f"{head.short} ({head.id[:12]})")
        with board.shown(rollout.parts):
            rollout.run()
    parts = rollout.parts
    last = _refused(fleet, parts)
    here = sum(part.state is State.DEPLOYED for part in parts)
    outcome = "deployed" if here == len(parts) else "incomplete" if here else "failed"
    document = {"id": head.id, "outcome": outcome, "hosts": [told(part, board.seconds(part)) for part in parts]}
    answer(output, document, [f"{here} of {len(parts)} hosts have the release."] if here else [], parts, last)


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


def _refused(fleet: Fleet, parts: Sequence[Part]) -> GaplessError | None:
    """What ends a deploy that not every host has; None where each has."""
    if not (bad := [part for part in parts if part.state is not State.DEPLOYED]):
        return None
    by_state = dict[State, list[str]]()
    for part in bad:
        by_state.setdefault(part.state, []).append(part.host.name)
    cause = "; ".join(f"{', '.join(names)}: {state}" for state, names in by_state.items())
    hint = "`gapless status` shows which release each host has; the next `gapless deploy` brings all to one"
    busy = any(part.error and part.error.status == deploy.BUSY for part in bad)
    status = deploy.BUSY if busy else 1
    return GaplessError("deploy", f"{fleet.config.name} to all hosts", cause, hint, status=status)
