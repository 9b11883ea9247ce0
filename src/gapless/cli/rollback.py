"""gapless rollback [RELEASE]"""

from __future__ import annotations

import sys

import click

from gapless.cli.deploy import lock_wait, switched
from gapless.cli.options import Project, common, dry_run, go_on_without_terminal, stop_like_ctrl_c, yes
from gapless.cli.output import Output
from gapless.cli.progress import Progress
from gapless.release import steps
from gapless.release.plan import plan_rollback
from gapless.switch.engine import Outcome


@click.command()
@click.argument("release", required=False)
@dry_run
@yes
@lock_wait
@common
@click.pass_obj
def command(
    output: Output, /, project: Project, release: str | None, dry_run: bool, yes: bool, lock_wait: float
) -> None:
    """Without RELEASE: the newest good one before the current. Nothing is migrated back."""
    site = project.site(Progress(output), lock_wait)
    if dry_run:
        plan = plan_rollback(site, release)
        output.result({"plan": plan}, *(plan or ["Nothing: that release is live already."]))
        return
    target = steps.pick(site, project.manager.current(), release)
    if not yes and not output.json and sys.stdin.isatty():
        click.confirm(f"Roll back from {project.manager.current()} to {target}?", default=True, abort=True)
    stop_like_ctrl_c()
    if project.place:
        go_on_without_terminal(output)
    result = steps.rollback(site, target)
    document, line = switched(result)
    if result.outcome is Outcome.ALREADY_LIVE:
        line = f"{result.release} is already live."
    output.result(document, line)
