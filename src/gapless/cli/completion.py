"""What a shell completes beside verbs and options: what has a name in the project that the command line is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from gapless.errors import GaplessError

Items = list[CompletionItem[str]]


def releases(ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
    """Complete the name of a release; the newest is the first."""
    return _of_project(ctx, incomplete, lambda project: reversed(project.store.names()))


def destinations(ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
    """Complete the NAME of a gapless.NAME.toml."""
    from gapless.destination import names  # who completes nothing does not pay for it

    return _of_project(ctx, incomplete, lambda project: names(project.directory))


def _of_project(ctx: click.Context, incomplete: str, find: Callable[[Any], Iterable[str]]) -> Items:
    """What is found in the Project, whose module needs us; nothing where there is none, or it cannot be seen."""
    try:
        project = ctx.params.get("project")
        return [CompletionItem(name) for name in find(project) if name.startswith(incomplete)] if project else []
    except (GaplessError, OSError):
        return []


def files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
    """Complete the name of a file, as the shell does itself."""
    return [CompletionItem(incomplete, type="file")]


def directories(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
    """Complete the name of a directory, as the shell does itself."""
    return [CompletionItem(incomplete, type="dir")]


def verbs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
    """Complete a verb, or one of the verbs of that before."""
    shown = ctx.find_root()
    for name in ctx.params.get("names") or ():
        found = shown.command.get_command(shown, name) if isinstance(shown.command, click.Group) else None
        if found is None:
            return []
        shown = click.Context(found, parent=shown, info_name=name)
    whole = shown.command.shell_complete(shown, incomplete) if isinstance(shown.command, click.Group) else []
    return [one for one in whole if not one.value.startswith("-")]
