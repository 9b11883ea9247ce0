"""gapless doctor"""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec

from gapless.cli.fleet.each_host import Joined, asked_on_each_host
from gapless.cli.options import Project, common
from gapless.cli.output import Output, in_a_line
from gapless.doctor.examination import examine
from gapless.doctor.finding import Finding, Severity
from gapless.fleet.commands import Said

MARKS = {
    Severity.OK: ("✓", "green"),
    Severity.WARNING: ("!", "yellow"),
    Severity.FAILED: ("✗", "red"),
    Severity.UNKNOWN: ("?", ""),
}
PROBLEMS = {Severity.WARNING, Severity.FAILED}


def _of_hosts(output: Output, said: Sequence[Said]) -> Joined:
    healthy = all(one.document["healthy"] for one in said)
    lines = list[str]()
    for one in said:
        found = msgspec.convert(one.document["findings"], list[Finding])
        shown = [line for each in _shown(output, found) for line in _lines(each)]
        lines += [f"{one.host.name}:", *(f"  {line}" for line in shown)] if shown else []
    return Joined(lines, {"healthy": healthy}, 0 if healthy else 1)


@click.command()
@asked_on_each_host(_of_hosts)
@common
@click.pass_obj
def command(output: Output, /, project: Project) -> None:
    """Looks at systemd, the units, leftovers, disk, clock, the command, its log and the proxy; changes nothing. Root
    sees more than others. With -q only what is wrong.

    Exit status 1 if a check failed; a warning is none.
    """
    found = examine(project.config, project.directory, project.intended)
    healthy = all(one.state is not Severity.FAILED for one in found)
    document = {"healthy": healthy, "findings": msgspec.to_builtins(found)}
    output.result(document, *(line for one in _shown(output, found) for line in _lines(one)))
    if not healthy:
        click.get_current_context().exit(1)


def _shown(output: Output, found: Sequence[Finding]) -> list[Finding]:
    return [one for one in found if not output.quiet or one.state in PROBLEMS]


def _lines(one: Finding) -> list[str]:
    mark, colour = MARKS[one.state]
    lines = [f"{click.style(mark, fg=colour or None)} {one.name:<16} {in_a_line(one.what)}"]
    return [*lines, click.style("  Try: ", fg="cyan", bold=True) + in_a_line(one.hint)] if one.hint else lines
