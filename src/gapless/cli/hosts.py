"""Which hosts a verb acts on, and the deploy of a project to all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from gapless.cli.fleet import Board, answer, told
from gapless.cli.options import Project, stop_like_ctrl_c
from gapless.cli.output import Output
from gapless.errors import GaplessError
from gapless.fleet import deploy, hosts
from gapless.fleet.parts import Fleet, Part, State
from gapless.linux.disk import refusal
from gapless.release import artifact
from gapless.release.holding import me
from gapless.release.packing import packing

Function = TypeVar("Function", bound=Callable[..., Any])
WANTED = "gapless.hosts"  # in the context: what -H names


def on_hosts(function: Function) -> Function:
    """-H, for verbs that act on the hosts of gapless.toml, too."""

    def remember(ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> None:
        ctx.meta[WANTED] = value

    return click.option(
        "-H",
        "--hosts",
        multiple=True,
        metavar="NAMES",
        expose_value=False,
        callback=remember,
        help="Act on these groups and hosts of [hosts], over SSH; default: all, where the app is not on this machine.",
    )(function)


def meant(project: Project) -> Fleet | None:
    """The hosts that the verb is to act on; None: this machine. Raises GaplessError."""
    wanted: Sequence[str] = click.get_current_context().meta.get(WANTED) or ()
    if wanted and project.only:  # an operator of one app would get to other hosts as whom sudo makes him
        raise click.UsageError("--app is for this machine: it takes no -H")
    if not wanted and (project.only or not project.config.hosts.groups or project.installed):
        return None
    return Fleet(project.config, hosts.chosen(project.config, wanted), project.destination)


def words(*names: str) -> list[str]:
    """The options of the command of these names, as they were given, for the same verb on a host."""
    ctx = click.get_current_context()
    found = list[str]()
    for param in ctx.command.params:
        if param.name in names and ctx.get_parameter_source(param.name) is not ParameterSource.DEFAULT:
            value = ctx.params[param.name]
            found += [param.opts[-1]] if isinstance(value, bool) else [param.opts[-1], f"{value}"]
    return found


def deploy_to(output: Output, fleet: Fleet, project: Project, source: str | None) -> None:
    """Pack the source once and deploy it to the hosts."""
    options = words("watch", "prove", "prove_url", "max_latency", "without_backup", "take_over", "lock_wait")
    stop_like_ctrl_c()
    board = Board(output)
    with tempfile.TemporaryDirectory(prefix="gapless-deploy-") as folder:
        packed = Path(folder, "artifact")
        head = _pack(output, project, source, packed)
        rollout = deploy.Rollout(fleet, packed, options, board, me(), f"{head.short} ({head.id[:12]})")
        with board.shown(rollout.parts):
            rollout.run()
    parts = rollout.parts
    last = _refused(fleet, parts)
    here = sum(part.state is State.DEPLOYED for part in parts)
    outcome = "deployed" if here == len(parts) else "incomplete" if here else "failed"
    document = {"id": head.id, "outcome": outcome, "hosts": [told(part, board.seconds(part)) for part in parts]}
    answer(output, document, [f"{here} of {len(parts)} hosts have the release."] if here else [], parts, last)


def _pack(output: Output, project: Project, source: str | None, to: Path) -> artifact.Head:
    with packing(project.directory, source) as packed:
        for warning in packed.warnings:
            output.warn(warning)
        try:
            with to.open("wb") as file:
                artifact.write(packed.tree, packed.head, {}, file)
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
