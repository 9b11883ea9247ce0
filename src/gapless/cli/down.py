"""gapless down"""

from __future__ import annotations

import sys

import click

from gapless.cli.deploy import lock_wait
from gapless.cli.options import Project, common, dry_run, need_root, yes
from gapless.cli.output import Output
from gapless.provision import host
from gapless.provision.install import Installation
from gapless.release.lock import deploy_lock
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.jobs import SystemdJobs


@click.command()
@click.option("--data", is_flag=True, help="Remove the shared data, the ledger and the user, too.")
@dry_run
@yes
@lock_wait
@common
@click.pass_obj
def command(output: Output, /, project: Project, data: bool, dry_run: bool, yes: bool, lock_wait: float) -> None:
    """Closes the socket, drains the releases, and removes what `gapless up` and deploys made."""
    name = project.config.name
    home = project.installed or next(
        (one for one in (SystemdHome(name), SystemdHome(name, user=True)) if data and one.root.exists()), None
    )
    if home is None:
        output.result({"removed": [], "dry_run": dry_run}, f"Already down: {name} is not installed here.")
        return
    if home.owner:
        need_root(f"remove {home.name}")
    host.refuse_foreign(home)
    what = f"{home.name}, its releases and units" + (f", and the data in {home.shared}" if data else "")
    if dry_run:
        output.result({"removed": [], "dry_run": True}, f"Would remove {what}.")
        return
    if not yes and not output.json and sys.stdin.isatty():
        click.confirm(f"Remove {what}?", abort=True)
    output.say("Draining …")
    with deploy_lock(home.root, why="down", wait=lock_wait, busy=SystemdJobs(home).under_way):
        installation = Installation(project.config, home, None)
        gone = installation.remove(data=data)
    if installation.site.blocked:
        output.warn(f"Caddy still has the site, until it can load its configuration: {installation.site.blocked}")
    left = "" if data else f" {home.shared} stays: `gapless down --data` removes it."
    output.result({"removed": gone, "dry_run": False}, f"Removed {home.name}.{left}")
