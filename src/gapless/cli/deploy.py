"""gapless deploy [SOURCE]"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import click

from gapless import address
from gapless.cli import completion
from gapless.cli.fleet.choice import meant, on_hosts
from gapless.cli.fleet.deploy import deploy_to
from gapless.cli.options import Project, common, dry_run, go_on_without_terminal, lease, stop_like_ctrl_c
from gapless.cli.output import Output, in_a_line
from gapless.cli.progress import Progress
from gapless.cli.types import SPAN
from gapless.cli.watch import wanted_watch, watch_options
from gapless.provision.identity import Identity
from gapless.release import deploy, receiving
from gapless.release.attempt import Target
from gapless.release.holding import moment
from gapless.release.migrating import Migration
from gapless.release.preview import preview_deploy
from gapless.release.sources import Source
from gapless.switch.engine import Outcome
from gapless.switch.systemd.home import SystemdHome

lock_wait = click.option(
    "--lock-wait", type=SPAN, default=0.0, metavar="TIME", help="Wait this long for another deploy to end."
)

take_over = click.option("--take-over", is_flag=True, help="Let the name be this project's, though another has it.")


@click.command()
@click.argument("source", required=False, shell_complete=completion.files)
@watch_options
@click.option("--without-backup", is_flag=True, help="Migrate also where the replica of the database is behind.")
@click.option("--migrate-only", is_flag=True, help="Make the release and migrate; the next deploy takes it.")
@click.option("--without-migration", is_flag=True, help="Do not migrate: on another host of the database that is done.")
@take_over
@dry_run
@lock_wait
@lease
@on_hosts
@common
@click.pass_obj
def command(
    output: Output,
    /,
    project: Project,
    source: str | None,
    take_over: bool,
    dry_run: bool,
    lock_wait: float,
    lease: str,
    watch: float | None,
    prove: bool,
    prove_url: str | None,
    max_latency: float | None,
    confirm: float | None,
    without_backup: bool,
    migrate_only: bool,
    without_migration: bool,
) -> None:
    """SOURCE is a directory, a tarball or a git revision; without it, the project itself as git sees it.

    - is what `gapless pack` writes, on standard input: `gapless pack | ssh root@HOST gapless deploy - -C DIRECTORY`.

    A release that is turned back is a bad one: the previous one serves again, and the exit status is 1.
    """
    if source != "-" and (fleet := meant(project)):
        deploy_to(output, fleet, project, source, dry_run=dry_run)
        return
    project.take_over = take_over
    # A broken gapless.toml is refused before anything is made.
    target = project.target(Progress(output), lock_wait, lease)
    target = replace(target, backup=None) if without_backup else target
    on = wanted_watch(project, watch, prove, prove_url, max_latency, confirm)
    migration = _migration(only=migrate_only, without=without_migration, watched=on is not None)
    made_of = taken(target, project, source)
    if dry_run:
        seen = preview_deploy(target, project.directory, made_of, on, migration)
        lines = [f"Changes: {one}." for one in seen.changes] or [f"Nothing changes: {seen.current} is the same."]
        plan: dict[str, object] = {
            "plan": seen.steps,
            "current": seen.current,
            "changes": seen.changes,
            "warnings": seen.warnings,
        }
        for warning in () if output.json else seen.warnings:  # they are in the document
            output.warn(warning)
        if output.verbose:
            plan |= {"files": seen.files, "left_out": seen.left_out}
            lines += [f"Files, {len(seen.files):,}:", *(f"  {name}" for name in seen.files)]
            lines += (
                ["Left out:", *(f"  {name}: {why}" for name, why in seen.left_out.items())] if seen.left_out else []
            )
        output.result(plan, *map(in_a_line, [*seen.steps, *lines]))
        return
    stop_like_ctrl_c()
    go_on_without_terminal()
    os.nice(10)  # neither this nor a build may delay those who serve
    result = deploy.deploy(target, project.directory, made_of, on, migration)
    if isinstance(target.home, SystemdHome):
        Identity(project.config, target.home).make()
    document, lines = switched(result)
    output.result(document, *lines)
    _warn_of_other_address(output, project)


def _migration(*, only: bool, without: bool, watched: bool) -> Migration:
    if only and (without or watched):
        other = "--without-migration" if without else "--watch, --prove and --confirm"
        raise click.UsageError(f"--migrate-only switches nothing over: leave out {other}")
    return Migration.ONLY if only else Migration.WITHOUT if without else Migration.WITH


def taken(target: Target, project: Project, source: str | None) -> str | Source | None:
    """Take what comes on standard input, where `source` is that. Raises GaplessError."""
    if source != "-":
        return source
    received = receiving.receiving(target, project.config, sys.stdin.fileno())
    return click.get_current_context().with_resource(received)


def _warn_of_other_address(output: Output, project: Project) -> None:
    if moved := address.moved(project.app.held(), project.config.addresses):
        output.warn(f"{moved}; the old address stays open: {project.app.readdress} changes it")


def switched(result: deploy.Result) -> tuple[object, list[str]]:
    """What deploy and rollback answer, as a document and as lines."""
    phases = [{"name": one.name, "seconds": one.seconds, "outcome": one.outcome} for one in result.phases]
    document = {
        "release": result.release,
        "previous": result.previous,
        "outcome": result.outcome,
        "phases": phases,
        "report": result.report or None,
        "confirm_by": result.confirm_by,
    }
    if result.outcome is Outcome.ALREADY_LIVE:
        return document, [f"{result.release} is already live."]
    if result.outcome == deploy.MIGRATED:
        return document, [f"{result.release} is made and migrated to; {result.previous or 'nothing'} goes on serving."]
    if result.confirm_by:
        until = moment(result.confirm_by)
        return document, [
            f"{result.release} is live until {until}, then {result.previous} serves again: `gapless confirm` keeps it."
        ]
    after = f", {result.previous} drains" if result.previous else ""
    proof = [f"Nothing was lost: {result.report}"] if result.report else []
    return document, [f"{result.release} is live{after}.", *proof]
