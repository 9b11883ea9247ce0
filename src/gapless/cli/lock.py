"""gapless lock status|acquire|release"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from gapless.cli.fleet.each_host import Joined, ask, asked_on_each_host, by_host, on_each_host, tell, words
from gapless.cli.options import Project, common, lease, yes
from gapless.cli.output import Output, harmless, in_a_line
from gapless.cli.types import SPAN
from gapless.fleet import lease as leases
from gapless.fleet.commands import Said, ask_once, understood
from gapless.fleet.parts import Fleet
from gapless.release import hold, lock
from gapless.release.holding import Holder, me


@click.group()
def command() -> None:
    """A lock taken here stays until it is released, or its time is over; that of a running deploy ends with it."""


def _status_of_hosts(_output: Output, said: Sequence[Said]) -> Joined:
    return _joined(said, [_holder(one.document) for one in said])


def _holder(document: Mapping[str, Any]) -> str:
    holder = document["holder"]
    return f"Locked: {msgspec.convert(holder, Holder)}." if holder else "Not locked."


def _joined(said: Sequence[Said], lines: Sequence[str]) -> Joined:
    hosts = [{"host": one.host.name, **one.document} for one in said]
    told = by_host(zip((one.host for one in said), lines, strict=True), [one.host for one in said])
    return Joined({"locked": bool(said) and all(one.document["locked"] for one in said), "hosts": hosts}, told)


@command.command()
@asked_on_each_host(_status_of_hosts)
@common
@click.pass_obj
def status(output: Output, project: Project) -> None:
    """Show who holds it."""
    holder = hold.hold(project.app.home.root) or lock.holder(project.app.home.root)
    document = {"locked": holder is not None, "holder": holder.told if holder else None}
    output.result(document, in_a_line(f"Locked: {holder}.") if holder else "Not locked.")


def _acquire_on_hosts(output: Output, fleet: Fleet) -> None:
    params = click.get_current_context().params
    if params["seconds"] is None:
        _refuse_a_name(params["by"])
        ask(
            output,
            fleet,
            lambda _, said: _joined(
                said, ["Locked." if one.document["changed"] else "Already locked." for one in said]
            ),
        )
        return
    said = leases.acquire(fleet, [*words("by"), "--by", params["by"] or me()])
    if any(one.error for one in said):
        tell(output, said, Joined({"locked": False, "token": None, "until": None, "hosts": []}, []))
        return
    token, until = leases.joined(said), min(one.document["until"] for one in said)
    tell(output, said, Joined({**_joined(said, [""] * len(said)).document, "token": token, "until": until}, [token]))


def _refuse_a_name(by: str) -> None:
    if by:
        raise click.UsageError("--by needs --for")


@command.command()
@on_each_host(_acquire_on_hosts)
@click.option("--why", required=True, help="What the others will read.")
@click.option(
    "--for",
    "seconds",
    type=SPAN,
    metavar="TIME",
    help="As a lease: it ends by itself after this time without a command of yours. Who knows its token may deploy.",
)
@click.option("--by", default="", metavar="NAME", help="With --for: who you are, for the others and the ledger.")
@common
@click.pass_obj
def acquire(output: Output, project: Project, why: str, seconds: float | None, by: str) -> None:
    """Keep everybody from deploying.

    With --for this prints the token of a lease, which `deploy`, `rollback` and `lock release` take as --lease: they go
    on, while all others wait. It is refused (status 75) while others deploy, or have the lock.
    """
    home = project.app.home.root
    project.app.prepare()
    if seconds is None:
        _refuse_a_name(by)
        changed = hold.acquire_hold(home, why)
        line = "Locked." if changed else f"Already locked: {hold.hold(home)}."
        output.result({"locked": True, "changed": changed, "token": None, "until": None}, in_a_line(line))
        return
    with lock.deploy_lock(home, why="lock acquire", lets=lambda _waits: True):  # nobody deploys
        token, taken = hold.acquire_lease(home, why, seconds, project.known_as(by))
    output.result({"locked": True, "changed": True, "token": token, "until": taken.until}, token)


def _release_on_hosts(output: Output, fleet: Fleet) -> None:
    params = click.get_current_context().params
    if not params["yes"] and not params["lease"] and not output.json and sys.stdin.isatty():
        click.confirm(f"Release the lock on {len(fleet.hosts)} hosts?", abort=True)
    commands = dict.fromkeys(fleet.hosts, fleet.argv("lock release"))
    if params["lease"]:
        commands = {host: leases.release(fleet, one) for host, one in leases.tokens(fleet, params["lease"]).items()}
    said = understood(ask_once(commands))
    there = [one for one in said if not one.error]
    tell(
        output, said, _joined(there, ["Released." if one.document["changed"] else "Already released." for one in there])
    )


@command.command()
@on_each_host(_release_on_hosts)
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
