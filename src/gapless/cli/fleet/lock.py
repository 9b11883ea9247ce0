"""gapless lock status|acquire|release, over hosts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import msgspec

from gapless.cli.fleet.each_host import Joined, ask, by_host, tell, words
from gapless.cli.output import Output
from gapless.fleet import lease
from gapless.fleet.commands import Said, ask_once, understood
from gapless.fleet.parts import Fleet
from gapless.release.holding import Holder, me


def status_of(output: Output, fleet: Fleet) -> None:
    """Tell who holds each host."""
    ask(output, fleet, _joining(_holder))


def acquire_on(output: Output, fleet: Fleet) -> None:
    """Have a lock on each host; as a lease on each, or on none."""
    params = click.get_current_context().params
    if params["seconds"] is None:
        ask(output, fleet, _joining(lambda document: "Locked." if document["changed"] else "Already locked."))
        return
    said = lease.acquire(fleet, [*words("by"), "--by", params["by"] or me()])
    all_have_it = not any(one.error for one in said)
    token = lease.joined(said) if all_have_it else None
    until = min(one.document["until"] for one in said) if all_have_it else None
    document = {"locked": all_have_it, "token": token, "until": until}
    tell(output, said, Joined([token] if token else [], document))


def release_on(output: Output, fleet: Fleet) -> None:
    """Let deploys go on everywhere."""
    params = click.get_current_context().params
    if not params["yes"] and not params["lease"] and not output.json and sys.stdin.isatty():
        click.confirm(f"Release the lock on {len(fleet.hosts)} hosts?", abort=True)
    commands = dict.fromkeys(fleet.hosts, fleet.argv("lock release"))
    if params["lease"]:
        commands = {host: lease.release(fleet, one) for host, one in lease.tokens(fleet, params["lease"]).items()}
    said = understood(ask_once(commands))
    joined = _joining(lambda document: "Released." if document["changed"] else "Already released.")
    tell(output, said, joined(output, [one for one in said if not one.error]))


def _holder(document: Mapping[str, Any]) -> str:
    holder = document["holder"]
    return f"Locked: {msgspec.convert(holder, Holder)}." if holder else "Not locked."


def _joining(line: Callable[[Mapping[str, Any]], str]) -> Callable[[Output, Sequence[Said]], Joined]:
    """What joins answers that are a line each."""

    def join(_output: Output, said: Sequence[Said]) -> Joined:
        lines = by_host(((one.host, line(one.document)) for one in said), [one.host for one in said])
        return Joined(lines, {"locked": bool(said) and all(one.document["locked"] for one in said)})

    return join
