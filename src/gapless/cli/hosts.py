"""Verbs that act on hosts: which, the deploy of a project to all of them, and what is said of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gapless.cli.options import Project
from gapless.cli.output import Output
from gapless.errors import GaplessError
from gapless.fleet import deploy, hosts
from gapless.fleet.deploy import Fleet, Part, State
from gapless.linux.disk import refusal
from gapless.release import artifact
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
    if not wanted and (project.only or not project.config.hosts.groups or project.installed):
        return None
    return Fleet(project.config, hosts.chosen(project.config, wanted), project.destination)


class Lines:
    """An observer that tells of each host in a line."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def changed(self, part: Part) -> None:
        release = f" {part.release}" if part.release else ""
        self._output.say(f"{part.host.name}: {part.state}{release}")


def deploy_to(output: Output, project: Project, fleet: Fleet, source: str | None, options: Sequence[str]) -> None:
    """Pack the source once and deploy it to the hosts."""
    with tempfile.TemporaryDirectory(prefix="gapless-deploy-") as folder:
        packed = Path(folder, "artifact")
        _pack(output, project, source, packed)
        parts = deploy.deploy(fleet, packed, options, Lines(output))
    failed = [part for part in parts if part.state is not State.DEPLOYED]
    document = {"hosts": [_told(part) for part in parts], "outcome": "failed" if failed else "deployed"}
    lines = [f"{part.host.name}: {part.state}, {part.release or 'no release'}" for part in parts]
    output.result(document, *lines)
    for part in failed:
        if part.error and not output.json:
            output.error(part.error)
    if failed:
        click.get_current_context().exit(1)


def _pack(output: Output, project: Project, source: str | None, to: Path) -> None:
    with packing(project.directory, source) as packed:
        for warning in packed.warnings:
            output.warn(warning)
        try:
            with to.open("wb") as file:
                artifact.write(packed.tree, packed.head, {}, file)
        except OSError as error:
            raise refusal("write", "the artifact", error) from error


def _told(part: Part) -> dict[str, object]:
    return {
        "host": part.host.name,
        "state": part.state,
        "release": part.release,
        "previous": part.previous,
        "error": _parts(part.error) if part.error else None,
    }


def _parts(error: GaplessError) -> dict[str, object]:
    parts = {"operation": error.operation, "object": error.object, "cause": error.cause, "hint": error.hint}
    return {**parts, "details": [*error.details], "status": error.status}
