"""gapless logs [RELEASE]"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import click

from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.errors import GaplessError
from gapless.switch.symptoms import NEAR, Kind, Symptom, recognise

MOST = 10_000  # lines: all of them are in memory, and an app may have written more than fits there


@click.command()
@click.argument("release", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines of every release, until Ctrl-C.")
@click.option(
    "--lines", type=click.IntRange(0, MOST), default=50, show_default=True, help="How many of the last lines."
)
@common
@click.pass_obj
def command(output: Output, /, project: Project, release: str | None, follow: bool, lines: int) -> None:
    """Without RELEASE: the current one. Its build and migration are in its log, too.

    Where a line tells of something that the sandbox refused, standard error says what to set.
    """
    wanted = release or project.current
    if wanted is None:
        raise GaplessError("show", "the log", "nothing was deployed yet", project.first)
    last = project.app.log(wanted, lines)
    refused = recognise(last, project.app.home.sandbox(wanted))
    advice = [{"line": _said(one), "hint": one.advice} for one in refused]
    output.result({"release": wanted, "lines": last, "advice": advice}, *last)
    told = _advise(output, refused, set())
    if follow:
        _follow(output, project, told)


def _follow(output: Output, project: Project, told: set[Kind]) -> None:
    recent = deque[str](maxlen=NEAR)  # a call, and the error that it ended with
    for line in project.app.follow():
        output.line({"line": line}, line)
        recent.append(line)
        release = line.partition(" | ")[0]
        told = _advise(output, recognise(recent, project.app.home.sandbox(release)), told)


def _advise(output: Output, refused: Sequence[Symptom], told: set[Kind]) -> set[Kind]:
    """Say what to set, each once; returns what was said by now."""
    for one in refused:
        if one.kind not in told:
            output.advise(f"{one.advice} (for: {_said(one)})")
    return told | {one.kind for one in refused}


def _said(one: Symptom) -> str:
    """The line without the release before it."""
    return one.line.partition(" | ")[2] or one.line
