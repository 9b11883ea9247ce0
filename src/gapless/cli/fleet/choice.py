"""Which hosts a verb acts on, and the words with which it is repeated there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from gapless.cli.options import Project, stop_like_ctrl_c
from gapless.fleet import hosts, lease
from gapless.fleet.parts import Fleet

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
    """The hosts that the verb is to act on; None: this machine. Raises GaplessError.

    From here on SIGTERM and SIGHUP end the verb as Ctrl-C does: what was started to reach hosts ends, too.
    """
    wanted: Sequence[str] = click.get_current_context().meta.get(WANTED) or ()
    if wanted and project.only:  # an operator of one app would get to other hosts as whom sudo makes him
        raise click.UsageError("--app is for this machine: it takes no -H")
    if not wanted and (project.only or not project.config.hosts.groups or project.installed):
        return None
    stop_like_ctrl_c()
    return Fleet(project.config, hosts.chosen(project.config, wanted), project.destination)


def lent(fleet: Fleet) -> dict[hosts.Host, str]:
    """The leases that --lease names, by host; none without it. Raises GaplessError."""
    token: str = click.get_current_context().params["lease"]
    return lease.tokens(fleet, token) if token else {}


def words(*names: str, ours: Collection[str] = ()) -> list[str]:
    """The options of the command of these names, as they were given, for the same verb on a host.

    Any other is refused, but for those that are `ours` to heed. Raises UsageError.
    """
    found = list[str]()
    for param, value in typed(ours):
        if not param.expose_value or isinstance(param, click.Argument):
            continue
        if param.name not in names:
            raise click.UsageError(f"{param.opts[-1]} is for one machine: say it there, and leave it out for hosts")
        found += option(param, value)
    return found


def typed(left_out: Collection[str]) -> Iterator[tuple[click.Parameter, Any]]:
    """What was typed after the verb, each with its value, but for what is `left_out`."""
    ctx = click.get_current_context()
    for param in ctx.command.params:
        name = param.name or ""
        if name not in left_out and ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            yield param, ctx.params.get(name)


def option(param: click.Parameter, value: object) -> list[str]:
    """An option as it is typed; a flag has no value."""
    return [param.opts[-1]] if value is True else [param.opts[-1], str(value)]
