"""gapless run"""

from __future__ import annotations

import sys

import click

from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.home import Home
from gapless.release.ledger import Ledger
from gapless.release.recovery import remembered
from gapless.release.store import Store


@click.command()
@common
@click.pass_obj
def command(output: Output, /, project: Project) -> None:
    """Makes the first release if there is none. SIGTERM drains, a second one hurries; works as process 1."""
    from gapless.switch.embedded import supervisor
    from gapless.switch.embedded.app import EmbeddedApp

    config = project.config
    app = EmbeddedApp(project.directory)
    app.prepare()
    _name_again(output, app.home)

    def first() -> list[str]:
        return [sys.executable, "-m", "gapless", "deploy", "-q", "-C", str(project.directory)]

    output.detail(f"holding {', '.join(config.addresses)} for {config.name}")
    sys.exit(supervisor.run(app.home.root, config, output.pass_on, first=first))


def _name_again(output: Output, home: Home) -> None:
    """Write a lost commit file again before anybody takes the app for one that was never deployed."""
    store, named = Store(home.root), home.current()
    present = store.names()
    last = remembered(store, Ledger(home.root), present)
    if named not in present and last:
        home.point(last)
        output.warn(f"{home.link} named no release; now it names {last}, the one that served last")
