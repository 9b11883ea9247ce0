"""gapless resume"""

from __future__ import annotations

import click

from gapless.cli.deploy import lock_wait
from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.cli.progress import Progress
from gapless.release import pause


@click.command()
@lock_wait
@common
@click.pass_obj
def command(output: Output, /, project: Project, lock_wait: float) -> None:
    """Whoever waits is answered."""
    changed = pause.end(project.target(Progress(output), lock_wait))
    output.result({"paused": False, "changed": changed}, "Resumed." if changed else "Already resumed: no pause is on.")
