"""gapless lock status|acquire|release"""

from __future__ import annotations

import sys

import click

from gapless.cli.fleet.each_host import on_each_host
from gapless.cli.fleet.lock import acquire_on, release_on, status_of
from gapless.cli.options import Project, common, lease, yes
from gapless.cli.output import Output, harmless, in_a_line
from gapless.cli.types import SPAN
from gapless.release import hold, lock


@click.group()
def command() -> None:
    """A lock taken here stays until it is released, or its time is over; that of a running deploy ends with it."""


@command.command()
@on_each_host(status_of)
@common
@click.pass_obj
def status(output: Output, project: Project) -> None:
    """Show who holds it."""
    holder = lock.holder(project.app.home.root) or hold.hold(project.app.home.root)
    document = {"locked": holder is not None, "holder": holder.told if holder else None}
    output.result(document, in_a_line(f"Locked: {holder}.") if holder else "Not locked.")


@command.command()
@on_each_host(acquire_on)
@click.option("--why", required=True, help="What the others will read.")
@click.option(
    "--for",
    "seconds",
    type=SPAN,
    metavar="TIME",
    help="As a lease: it ends by itself after this time without a command of yours. Who knows its token may deploy.",
)
@click.option("--by", default="", metavar="NAME", help="With --for: who you are, for the others and the ledger.")
@click.option("--token", default="", hidden=True)  # of a deploy from a laptop, which may be cut off before the answer
@common
@click.pass_obj
def acquire(output: Output, project: Project, why: str, seconds: float | None, by: str, token: str) -> None:
    """Keep everybody from deploying.

    With --for this prints the token of a lease, which `deploy`, `rollback` and `lock release` take as --lease: they go
    on, while all others wait. It is refused (status 75) while others deploy, or have the lock.
    """
    home = project.app.home.root
    project.app.prepare()
    if seconds is None:
        if by:
            raise click.UsageError("--by needs --for")
        changed = hold.acquire_hold(home, why)
        line = "Locked." if changed else f"Already locked: {hold.hold(home)}."
        output.result({"locked": True, "changed": changed, "token": None, "until": None}, in_a_line(line))
        return
    with lock.deploy_lock(home, why="lock acquire", lets=lambda _waits: True):  # nobody deploys
        token, taken = hold.acquire_lease(home, why, seconds, project.known_as(by), token=token)
    output.result({"locked": True, "changed": True, "token": token, "until": taken.until}, token)


@command.command()
@on_each_host(release_on)
@yes
@lease
@common
@click.pass_obj
def release(output: Output, project: Project, yes: bool, lease: str) -> None:
    """Let deploys go on. With --lease only if that lease is what keeps them."""
    home = project.app.home.root
    holder = hold.hold(home)
    if holder and not yes and not lease and not output.json and sys.stdin.isatty():
        click.confirm(harmless(in_a_line(f"Release the lock of {holder}?")), abort=True)
    changed = hold.release_hold(home, lease)
    document = {"locked": bool(lease and hold.hold(home)), "changed": changed}
    output.result(document, "Released." if changed else "Already released.")
