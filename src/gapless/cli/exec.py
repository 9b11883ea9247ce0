"""gapless exec COMMAND…"""

from __future__ import annotations

import sys

import click

from gapless.cli import completion
from gapless.cli.options import Project, in_project, stop_like_ctrl_c
from gapless.errors import GaplessError
from gapless.release import commands
from gapless.release.attempt import SILENT
from gapless.switch.systemd import execution


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("argv", nargs=-1, required=True, metavar="COMMAND...")
@click.option("--release", shell_complete=completion.releases, help="Another release than the current one.")
@in_project
def command(project: Project, release: str | None, argv: tuple[str, ...]) -> None:
    """In its directory, with its variables and secrets, as its user: gapless exec python manage.py shell

    The exit status is the command's own, 128 + n when signal n ended it, 127 when it cannot be started.
    """
    target = project.target(SILENT)
    wanted = release or project.current
    if wanted is None:
        raise GaplessError("run", argv[0], "nothing was deployed yet", project.first)
    project.app.home.release(wanted)  # says which there are
    stop_like_ctrl_c()
    if project.installed:
        sys.exit(execution.interact(project.installed, argv, wanted))
    sys.exit(commands.interact(argv, store=target.store, release=wanted, around=target.inherited()))
