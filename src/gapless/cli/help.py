"""gapless help [VERB]"""

from __future__ import annotations

import click

from gapless.cli.completion import verbs
from gapless.cli.output import Output


@click.command()
@click.argument("names", nargs=-1, metavar="[VERB]...", shell_complete=verbs)
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...]) -> None:
    """As `gapless VERB --help` does: gapless help deploy, gapless help lock acquire. `man gapless` has all of it."""
    shown = ctx.find_root()
    for name in names:
        group = shown.command
        _, found, _ = group.resolve_command(shown, [name]) if isinstance(group, click.Group) else (None, None, [])
        if found is None:
            ctx.fail(f"`gapless {' '.join(names)}` is no command.")
        shown = click.Context(found, parent=shown, info_name=name)
    output: Output = ctx.obj
    output.result(None, shown.get_help())
