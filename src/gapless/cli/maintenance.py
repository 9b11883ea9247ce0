"""gapless maintenance on|off"""

from __future__ import annotations

import click

from gapless.cli.options import Project, anywhere, need_root
from gapless.cli.output import Output
from gapless.errors import GaplessError
from gapless.linux.files import replace
from gapless.switch.systemd.home import SystemdHome


@click.command()
@click.argument("state", type=click.Choice(["on", "off"]))
@click.argument("name", required=False)
@anywhere
@click.pass_obj
def command(output: Output, project: Project, state: str, name: str | None) -> None:
    """Caddy answers every request with status 503 and the page /srv/NAME/maintenance.html, from this moment until it
    is turned off, over deploys and boots; edit the page as you like. For an app with [proxy] domains: that of this
    project, or NAME.
    """
    home = SystemdHome(name or project.config.name)
    if not home.installed or not home.page.exists():
        hint = "give it [proxy] domains, and run `sudo gapless up`"
        raise GaplessError("turn", f"maintenance {state} for {home.name}", "it has no site in Caddy", hint)
    need_root(f"turn maintenance {state}")
    changed = home.maintenance.exists() is not (state == "on")
    if state == "on":
        replace(home.maintenance, "")
    else:
        home.maintenance.unlink(missing_ok=True)
    line = f"Maintenance of {home.name} is {'' if changed else 'already '}{state}."
    output.result({"maintenance": state == "on", "changed": changed}, line)
