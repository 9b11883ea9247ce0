"""gapless prune"""

from __future__ import annotations

import click

from gapless.cli.deploy import lock_wait
from gapless.cli.options import Project, common, dry_run
from gapless.cli.output import Output
from gapless.cli.progress import Progress
from gapless.release import deploy
from gapless.release.prune import superfluous


@click.command()
@click.option("--keep", type=click.IntRange(2), help="Good releases to keep; default: [release] keep.")
@dry_run
@lock_wait
@common
@click.pass_obj
def command(output: Output, /, project: Project, keep: int | None, dry_run: bool, lock_wait: float) -> None:
    """The current release, the one to roll back to and each of which anything runs stay, whatever --keep says."""
    wanted = keep or project.config.release.keep
    if dry_run:
        current, manager = project.current, project.manager
        gone = superfluous(project.ledger, project.store.names(), current, manager.in_use(), wanted)
    else:
        gone = deploy.prune(project.target(Progress(output), lock_wait), wanted)
    verb = "Would remove" if dry_run else "Removed"
    lines = [f"{verb} {release}." for release in gone] or ["Already pruned: nothing to remove."]
    output.result({"removed": gone, "dry_run": dry_run}, *lines)
