"""gapless audit"""

from __future__ import annotations

import time
from collections.abc import Sequence

import click
import msgspec

from gapless.cli.fleet.each_host import Joined, asked_on_each_host
from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.fleet.commands import Said
from gapless.release.ledger import Deploy
from gapless.span import show


def _of_hosts(output: Output, said: Sequence[Said]) -> Joined:
    found = [(entry, one.host.name) for one in said for entry in one.document["deploys"]]
    found.sort(key=lambda one: float(one[0]["when"]))
    lines = _lines(output, [(msgspec.convert(entry, Deploy), host) for entry, host in found])
    return Joined(lines, {"deploys": [{"host": host, **entry} for entry, host in found]}, told=True)


@click.command()
@asked_on_each_host(_of_hosts)
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest last.")
@common
@click.pass_obj
def command(output: Output, /, project: Project, last: int) -> None:
    """With -v also the phases, the error and the report of each."""
    entries = project.ledger.entries()[-last:]
    output.result({"deploys": msgspec.to_builtins(entries)}, *_lines(output, [(entry, "") for entry in entries]))


def _lines(output: Output, found: Sequence[tuple[Deploy, str]]) -> list[str]:
    """Tell of deploys, with the host of each where several were asked."""
    if not found:
        return ["Nothing was deployed yet."]
    several = any(host for _, host in found)
    rows = list[tuple[str, ...]]()
    for entry, host in found:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.when))
        took = show(sum(phase.seconds for phase in entry.phases))
        told = (entry.who, entry.verb, entry.to, entry.from_ or "-", entry.revision, entry.outcome, took)
        rows.append((when, *((host,) if several else ()), *told))
    headings = ("WHEN", *(("HOST",) if several else ()), "WHO", "VERB", "TO", "FROM", "REVISION", "OUTCOME", "TOOK")
    heading, *table = output.table(headings, rows)
    if not output.verbose:
        return [heading, *table]
    lines = [heading]
    for (entry, _), row in zip(found, table, strict=True):
        lines.append(row)
        lines += [f"    {phase.name:<11} {show(phase.seconds):>8}  {phase.outcome}" for phase in entry.phases]
        lines += [f"    {line}" for line in entry.error.splitlines()]
        lines += [f"    report: {entry.report}"] if entry.report else []
    return lines
