"""gapless lock status|acquire|release"""

from __future__ import annotations

import sys

import click
import msgspec

from gapless.cli.options import Project, common, yes
from gapless.cli.output import Output, harmless, in_a_line
from gapless.release import lock


@click.group()
def command() -> None:
    """A lock taken here stays until it is released; that of a running deploy ends with it."""


@command.command()
@common
@click.pass_obj
def status(output: Output, project: Project) -> None:
    """Show who holds it."""
    holder = lock.hold(project.app.home.root) or lock.holder(project.app.home.root)
    document = {"locked": holder is not None, "holder": msgspec.to_builtins(holder) if holder else None}
    output.result(document, in_a_line(f"Locked: {holder}.") if holder else "Not locked.")


@command.command()
@click.option("--why", required=True, help="What the others will read.")
@common
@click.pass_obj
def acquire(output: Output, project: Project, why: str) -> None:
    """Keep everybody from deploying."""
    project.app.prepare()
    changed = lock.acquire_hold(project.app.home.root, why)
    line = "Locked." if changed else f"Already locked: {lock.hold(project.app.home.root)}."
    output.result({"locked": True, "changed": changed}, in_a_line(line))


@command.command()
@yes
@common
@click.pass_obj
def release(output: Output, project: Project, yes: bool) -> None:
    """Let deploys go on."""
    holder = lock.hold(project.app.home.root)
    if holder and not yes and not output.json and sys.stdin.isatty():
        click.confirm(harmless(in_a_line(f"Release the lock of {holder}?")), abort=True)
    changed = lock.release_hold(project.app.home.root)
    output.result({"locked": False, "changed": changed}, "Released." if changed else "Already released.")
