"""gapless doctor"""

from __future__ import annotations

import click
import msgspec

from gapless.cli.options import Project, common
from gapless.cli.output import Output, in_a_line
from gapless.doctor.examination import examine
from gapless.doctor.finding import Finding, Severity

MARKS = {
    Severity.OK: ("✓", "green"),
    Severity.WARNING: ("!", "yellow"),
    Severity.FAILED: ("✗", "red"),
    Severity.UNKNOWN: ("?", ""),
}
PROBLEMS = {Severity.WARNING, Severity.FAILED}


@click.command()
@common
@click.pass_obj
def command(output: Output, /, project: Project) -> None:
    """Looks at systemd, the units, leftovers, disk, clock, the command, its log and the proxy; changes nothing. Root
    sees more than others. With -q only what is wrong.

    Exit status 1 if a check failed; a warning is none.
    """
    found = examine(project.config, project.directory, project.intended)
    healthy = all(one.state is not Severity.FAILED for one in found)
    shown = [one for one in found if not output.quiet or one.state in PROBLEMS]
    document = {"healthy": healthy, "findings": msgspec.to_builtins(found)}
    output.result(document, *(line for one in shown for line in _lines(one)))
    if not healthy:
        click.get_current_context().exit(1)


def _lines(one: Finding) -> list[str]:
    mark, colour = MARKS[one.state]
    lines = [f"{click.style(mark, fg=colour or None)} {one.name:<16} {in_a_line(one.what)}"]
    return [*lines, click.style("  Try: ", fg="cyan", bold=True) + in_a_line(one.hint)] if one.hint else lines
