"""gapless down"""

from __future__ import annotations

import sys

import click

from gapless.cli.options import Project, common, dry_run, need_root, yes
from gapless.cli.output import Output
from gapless.provision import host
from gapless.provision.install import Installation
from gapless.release.lock import deploy_lock
from gapless.switch.systemd.names import Place


@click.command()
@click.option("--data", is_flag=True, help="Remove the shared data, the ledger and the user, too.")
@dry_run
@yes
@common
@click.pass_obj
def command(output: Output, /, project: Project, data: bool, dry_run: bool, yes: bool) -> None:
    """Closes the socket, drains the releases, and removes what `gapless up` and deploys made."""
    name = project.config.name
    place = project.installed or next(
        (one for one in (Place(name), Place(name, user=True)) if data and one.root.exists()), None
    )
    if place is None:
        output.result({"removed": [], "dry_run": dry_run}, f"Already down: {name} is not installed here.")
        return
    if place.owner:
        need_root(f"remove {place.name}")
    host.refuse_foreign(place)
    what = f"{place.name}, its releases and units" + (f", and the data in {place.shared}" if data else "")
    if dry_run:
        output.result({"removed": [], "dry_run": True}, f"Would remove {what}.")
        return
    if not yes and not output.json and sys.stdin.isatty():
        click.confirm(f"Remove {what}?", abort=True)
    output.say("Draining …")
    with deploy_lock(place.root, why="down"):
        gone = Installation(project.config, place, None).remove(data=data)
    left = "" if data else f" {place.shared} stays: `gapless down --data` removes it."
    output.result({"removed": gone, "dry_run": False}, f"Removed {place.name}.{left}")
