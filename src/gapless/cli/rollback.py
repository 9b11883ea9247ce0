"""gapless rollback [RELEASE]"""

from __future__ import annotations

import sys

import click

from gapless.cli import completion
from gapless.cli.deploy import lock_wait, switched
from gapless.cli.fleet.choice import meant, on_hosts
from gapless.cli.fleet.rollback import rollback_on
from gapless.cli.options import (
    Project,
    common,
    dry_run,
    end_lease,
    ending,
    go_on_without_terminal,
    lease,
    stop_like_ctrl_c,
    yes,
)
from gapless.cli.output import Output
from gapless.cli.progress import Progress
from gapless.cli.watch import wanted_watch, watch_options
from gapless.release import deploy
from gapless.release.preview import plan_rollback


@click.command()
@click.argument("release", required=False, shell_complete=completion.releases)
@watch_options
@dry_run
@yes
@lock_wait
@lease
@end_lease
@on_hosts
@common
@click.pass_obj
def command(
    output: Output,
    /,
    project: Project,
    release: str | None,
    dry_run: bool,
    yes: bool,
    lock_wait: float,
    lease: str,
    end_lease: bool,
    watch: float | None,
    prove: bool,
    prove_url: str | None,
    max_latency: float | None,
    confirm: float | None,
) -> None:
    """Without RELEASE: the newest good one before the current. Nothing is migrated back.

    While another terminal watches a deploy, that deploy turns back at once.
    """
    if fleet := meant(project):
        if end_lease:
            raise click.UsageError("--end-lease is for one host: `gapless lock release --lease TOKEN` ends it on all")
        rollback_on(output, fleet, release, dry_run=dry_run, yes=yes)
        return
    target = project.target(Progress(output), lock_wait, lease)
    on = wanted_watch(project, watch, prove, prove_url, max_latency, confirm)
    if dry_run:
        plan = plan_rollback(target, release, on)
        output.result({"plan": plan}, *(plan or ["Nothing: that release is live already."]))
        return
    chosen = deploy.pick(target, project.current, release)
    if not yes and not output.json and sys.stdin.isatty():
        click.confirm(f"Roll back from {project.current} to {chosen}?", default=True, abort=True)
    stop_like_ctrl_c()
    go_on_without_terminal()
    with ending(lease, project, wanted=end_lease):
        document, lines = switched(deploy.rollback(target, chosen, on))
    output.result(document, *lines)
