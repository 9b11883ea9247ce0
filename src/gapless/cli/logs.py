"""gapless logs [RELEASE]"""

from __future__ import annotations

import click

from gapless.cli import completion
from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.errors import GaplessError

MOST = 10_000  # lines: all of them are in memory, and an app may have written more than fits there


@click.command()
@click.argument("release", required=False, shell_complete=completion.releases)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines of every release, until Ctrl-C.")
@click.option(
    "--lines", type=click.IntRange(0, MOST), default=50, show_default=True, help="How many of the last lines."
)
@common
@click.pass_obj
def command(output: Output, /, project: Project, release: str | None, follow: bool, lines: int) -> None:
    """Without RELEASE: the current one. Its build and migration are in its log, too."""
    wanted = release or project.current
    if wanted is None:
        raise GaplessError("show", "the log", "nothing was deployed yet", project.first)
    last = project.app.log(wanted, lines)
    output.result({"release": wanted, "lines": last}, *last)
    if follow:
        for line in project.app.follow():
            output.line({"line": line}, line)
