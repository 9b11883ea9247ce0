"""gapless run"""

from __future__ import annotations

import sys

import click

from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.home import Home
from gapless.release.recovery import remembered


@click.command()
@common
@click.pass_obj
def command(output: Output, /, project: Project) -> None:
    """Makes the first release if there is none. SIGTERM drains, a second one hurries; works as process 1."""
    from gapless.switch.embedded import supervisor

    config = project.config
    project.prepare()
    _name_again(output, project)

    def first() -> list[str]:
        return [sys.executable, "-m", "gapless", "deploy", "-q", "-C", str(project.directory)]

    def emit(line: str) -> None:
        click.echo(line)
        sys.stdout.flush()

    output.detail(f"holding {', '.join(config.addresses)} for {config.name}")
    sys.exit(supervisor.run(project.embedded, config, emit, first=first))


def _name_again(output: Output, project: Project) -> None:
    """Write a lost commit file again before anybody takes the app for one that was never deployed."""
    home = Home(project.embedded)
    named, present = home.current(), project.store.names()
    last = remembered(project.store, project.ledger, present)
    if named not in present and last:
        home.point(last)
        output.warn(f"{home.link} named no release; now it names {last}, the one that served last")
