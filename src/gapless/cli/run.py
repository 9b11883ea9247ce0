"""gapless run"""

from __future__ import annotations

import sys

import click

from gapless.cli.options import Project, common
from gapless.cli.output import Output


@click.command()
@common
@click.pass_obj
def command(output: Output, /, project: Project) -> None:
    """Makes the first release if there is none. SIGTERM drains, a second one hurries; works as process 1."""
    from gapless.switch import supervisor

    config = project.config
    project.prepare()

    def first() -> list[str]:
        return [sys.executable, "-m", "gapless", "deploy", "-q", "-C", str(project.directory)]

    def emit(line: str) -> None:
        click.echo(line)
        sys.stdout.flush()

    output.detail(f"holding {', '.join(config.addresses)} for {config.name}")
    sys.exit(supervisor.run(project.embedded, config, emit, first=first))
