"""Verbs that each host answers for itself: the same verb runs on all of them, side by side, and its answers are joined.

How a verb joins them is in its own file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from gapless.cli.fleet.board import Board, parts_of
from gapless.cli.fleet.choice import meant, on_hosts, option, typed
from gapless.cli.output import Output, in_a_line
from gapless.cli.types import MOMENT
from gapless.fleet import asking
from gapless.fleet.commands import Said, worst
from gapless.fleet.hosts import Host
from gapless.fleet.parts import Fleet

Function = TypeVar("Function", bound=Callable[..., Any])
OURS = {"project", "json", "quiet", "verbose", "destination", "hosts", "yes"}  # said here, or to every host anyway


@dataclass(frozen=True)
class Joined:
    """What all hosts said that answered, as lines, and what a document has of all together; `status` is the command's.

    What each said is in the document, too, unless it is `told` already.
    """

    lines: Sequence[str]
    document: Mapping[str, object] = field(default_factory=dict)
    status: int = 0
    told: bool = False


Join = Callable[[Output, Sequence[Said]], Joined]


def on_each_host(act: Callable[[Output, Fleet], None]) -> Callable[[Function], Function]:
    """-H for a verb, which does `act` then, or where the app is on other hosts alone."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def either(*args: Any, **given: Any) -> None:
            if fleet := meant(given["project"]):
                output: Output = click.get_current_context().obj
                act(output, fleet)
            else:
                function(*args, **given)

        return on_hosts(either)  # type: ignore[return-value]

    return decorate


def asked_on_each_host(join: Join) -> Callable[[Function], Function]:
    """The same for a verb that is run on each host as it was typed here."""

    return on_each_host(lambda output, fleet: ask(output, fleet, join))


def ask(output: Output, fleet: Fleet, join: Join) -> None:
    """Run the verb on each host as it was typed here, and answer for all."""

    def reads(host: Host, document: dict[str, Any]) -> None:
        join(output, [Said(host, document)])

    parts, found = asking.ask(fleet, verb(), *words(), reads=reads, observer=Board(output))
    said = [Said(one.host, found.get(one.host, {}), one.error, one.warnings) for one in parts]
    tell(output, said, join(output, [one for one in said if one.error is None]))


def verb() -> str:
    """The verb that was typed, with the one inside it: `lock acquire`."""
    found, ctx = list[str](), click.get_current_context()
    while ctx.parent:
        found.insert(0, ctx.info_name or "")
        ctx = ctx.parent
    return " ".join(found)


def words(*left_out: str) -> list[str]:
    """What was typed after the verb, for the same verb on a host."""
    found = list[str]()
    for param, value in typed({*OURS, *left_out}):
        # A moment is the same one, wherever that is read.
        told = datetime.fromtimestamp(value, UTC).isoformat() if param.type is MOMENT else value
        found += [str(told)] if isinstance(param, click.Argument) else option(param, told)
    return found


def tell(output: Output, said: Sequence[Said], joined: Joined) -> None:
    """Answer for all hosts; those that did not answer are named, and why. Ends the command where not all is well."""
    hosts = [
        {
            "host": one.host.name,
            **({} if joined.told else one.document),
            "error": parts_of(one.error) if one.error else None,
        }
        for one in said
    ]
    output.result({**joined.document, "hosts": hosts}, *joined.lines)
    for one in said:
        for warning in one.warnings:
            output.warn(f"{one.host.name}: {warning}")
        if one.error and not output.json:
            output.error(one.error)
    if status := max(joined.status, worst(one.error for one in said)):
        click.get_current_context().exit(status)


def by_host(lines: Iterable[tuple[Host, str]], hosts: Sequence[Host]) -> list[str]:
    """Each line with its host before it."""
    named = before(hosts)
    return [named(host, line) for host, line in lines]


def before(hosts: Sequence[Host]) -> Callable[[Host, str], str]:
    """What puts the name of a host before a line, all of one width."""
    width = max((len(one.name) for one in hosts), default=0)
    return lambda host, line: f"{host.name:<{width}} | {in_a_line(line)}"
