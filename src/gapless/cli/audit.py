"""gapless audit"""

from __future__ import annotations

import time

import click
import msgspec

from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.span import show


@click.command()
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest last.")
@common
@click.pass_obj
def command(output: Output, /, project: Project, last: int) -> None:
    """With -v also the phases, the error and the report of each."""
    entries = project.ledger.entries()[-last:]
    rows, lines = [], []
    for entry in entries:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.when))
        took = show(sum(phase.seconds for phase in entry.phases))
        rows.append((when, entry.who, entry.verb, entry.to, entry.from_ or "-", entry.revision, entry.outcome, took))
    headings = ("WHEN", "WHO", "VERB", "TO", "FROM", "REVISION", "OUTCOME", "TOOK")
    lines = output.table(headings, rows) if rows else ["Nothing was deployed yet."]
    if output.verbose and rows:
        heading, *table = lines
        lines = [heading]
        for entry, row in zip(entries, table, strict=True):
            lines.append(row)
            lines += [f"    {phase.name:<11} {show(phase.seconds):>8}  {phase.outcome}" for phase in entry.phases]
            lines += [f"    {line}" for line in entry.error.splitlines()]
            lines += [f"    report: {entry.report}"] if entry.report else []
    output.result({"deploys": msgspec.to_builtins(entries)}, *lines)
