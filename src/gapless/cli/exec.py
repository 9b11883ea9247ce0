"""gapless exec COMMAND…"""

from __future__ import annotations

import sys

import click

from gapless.cli import completion
from gapless.cli.fleet.each_host import Joined, before, on_each_host, tell
from gapless.cli.options import Project, in_project, stop_like_ctrl_c
from gapless.cli.output import Output
from gapless.errors import GaplessError
from gapless.fleet.answers import unreachable
from gapless.fleet.commands import Said, ask_once
from gapless.fleet.parts import Fleet
from gapless.release import commands
from gapless.release.attempt import SILENT
from gapless.switch.systemd import execution


def _on_hosts(output: Output, fleet: Fleet) -> None:
    params = click.get_current_context().params
    output.json = params["json"]
    release = ["--release", params["release"]] if params["release"] else []
    argv = ("gapless", "exec", *release, *fleet.meant, "--", *params["argv"])
    found = ask_once(dict.fromkeys(fleet.hosts, argv))
    said, lines, named = list[Said](), list[str](), before(fleet.hosts)
    for host, answer in found.items():
        wrote = {"status": answer.status, "output": answer.said, "errors": answer.errors}
        error = unreachable(host, answer)
        said.append(Said(host, {} if error else wrote, error))
        lines += [named(host, line) for line in answer.said.splitlines()]
        for line in () if output.json else answer.errors.splitlines():
            output.pass_on(named(host, line), err=True)
    tell(output, said, Joined(lines, status=max(answer.status for answer in found.values())))


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("argv", nargs=-1, required=True, metavar="COMMAND...")
@click.option("--release", shell_complete=completion.releases, help="Another release than the current one.")
@click.option("--json", is_flag=True, help="On hosts: answer in JSON, with what each wrote, and its exit status.")
@on_each_host(_on_hosts)
@in_project
def command(project: Project, release: str | None, argv: tuple[str, ...], json: bool) -> None:
    """In its directory, with its variables and secrets, as its user: gapless exec python manage.py shell

    The exit status is the command's own, 128 + n when signal n ended it, 127 when it cannot be started.
    On hosts it is the greatest of all; nothing is read from standard input there.
    """
    if json:
        raise click.UsageError("--json is for several hosts: here it would be the command's own")
    target = project.target(SILENT)
    wanted = release or project.current
    if wanted is None:
        raise GaplessError("run", argv[0], "nothing was deployed yet", project.first)
    project.app.home.release(wanted)  # says which there are
    stop_like_ctrl_c()
    if project.installed:
        sys.exit(execution.interact(project.installed, argv, wanted))
    sys.exit(commands.interact(argv, store=target.store, release=wanted, around=target.inherited()))
