"""gapless run"""

from __future__ import annotations

import sys

import click

from gapless import address
from gapless.cli.deploy import lock_wait
from gapless.cli.options import Project, common
from gapless.cli.output import Output, in_a_line
from gapless.home import Home
from gapless.release.ledger import Ledger
from gapless.release.lock import deploy_lock
from gapless.release.recovery import remembered
from gapless.release.store import Store
from gapless.switch.embedded import replacement
from gapless.switch.embedded.app import EmbeddedApp


@click.command()
@click.option("--replace", is_flag=True, help="Have this gapless go on in the place of the one that runs.")
@lock_wait
@common
@click.pass_obj
def command(output: Output, /, project: Project, replace: bool, lock_wait: float) -> None:
    """Makes the first release if there is none. SIGTERM and Ctrl-C end the app: it drains, a second one hurries.
    SIGKILL ends the supervisor alone, and the next `gapless run` adopts what serves. Works as process 1.

    --replace is for a planned restart, such as after an upgrade of gapless: the supervisor keeps its process id, its
    terminal, its sockets and its releases.
    """
    app = EmbeddedApp(project.directory)
    if replace:
        app.manager.about()  # refused before anything is made, where none runs
        with deploy_lock(app.home.root, why="run --replace", wait=lock_wait, deploys=False):
            about = replacement.replace(app.home, project.config.addresses)
        line = f"Process {about.pid} goes on as gapless {about.version}; what it runs goes on, too."
        output.result({"pid": about.pid, "version": about.version}, in_a_line(line))
        return
    from gapless.switch.embedded import supervisor  # asyncio takes long

    config = project.config
    app.prepare()
    _name_again(output, app.home)

    def first() -> list[str]:
        return [sys.executable, "-P", "-m", "gapless", "deploy", "-q", "-C", str(project.directory)]

    for unheard in address.left_out(config.addresses):
        output.warn(f"nobody listens on {unheard}: `gapless doctor` says why")
    output.detail(f"holding {', '.join(config.addresses)} for {config.name}")
    sys.exit(supervisor.run(app.home.root, config, output.pass_on, first=first, arguments=sys.argv[1:]))


def _name_again(output: Output, home: Home) -> None:
    """Write a lost commit file again before anybody takes the app for one that was never deployed."""
    store, named = Store(home.root), home.current()
    present = store.names()
    last = remembered(store, Ledger(home.root), present)
    if named not in present and last:
        home.point(last)
        output.warn(f"{home.link} named no release; now it names {last}, the one that served last")
