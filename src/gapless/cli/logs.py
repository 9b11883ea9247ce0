"""gapless logs [RELEASE]"""

from __future__ import annotations

import click

from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.cli.types import MOMENT, PATTERN
from gapless.errors import GaplessError
from gapless.switch.app import Lines

MOST = 10_000  # lines: all of them are in memory, and an app may have written more than fits there


@click.command()
@click.argument("release", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines of every release, until Ctrl-C.")
@click.option(
    "--lines", type=click.IntRange(0, MOST), default=50, show_default=True, help="How many of the last lines."
)
@click.option(
    "--since",
    type=MOMENT,
    metavar="TIME",
    help='Only what was written since: "10m" ago, or "2026-11-29 10:00". Under systemd; not of builds and hooks.',
)
@click.option(
    "--grep", type=PATTERN, default="", metavar="PATTERN", help="Only what matches; without a capital in both cases."
)
@common
@click.pass_obj
def command(
    output: Output,
    /,
    project: Project,
    release: str | None,
    follow: bool,
    lines: int,
    since: float | None,
    grep: str,
) -> None:
    """Without RELEASE: the current one. Its build, migration and hooks are in its log, too."""
    wanted = release or project.current
    if wanted is None:
        raise GaplessError("show", "the log", "nothing was deployed yet", project.first)
    chosen = Lines(lines, since, grep)
    last = project.app.log(wanted, chosen)
    output.result({"release": wanted, "lines": last}, *last)
    if follow:
        for line in project.app.follow(chosen):
            output.line({"line": line}, line)
