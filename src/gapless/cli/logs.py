"""gapless logs [RELEASE]"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import click

from gapless.cli import completion
from gapless.cli.fleet.each_host import Joined, ask, before, by_host, on_each_host, words
from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.cli.types import MOMENT, PATTERN
from gapless.errors import GaplessError
from gapless.fleet import following
from gapless.fleet.commands import Said
from gapless.fleet.parts import Fleet
from gapless.switch.app import Lines
from gapless.switch.symptoms import NEAR, Kind, Symptom, recognise

MOST = 10_000  # lines: all of them are in memory, and an app may have written more than fits there


def _of_hosts(_output: Output, said: Sequence[Said]) -> Joined:
    lines = by_host(((one.host, line) for one in said for line in one.document["lines"]), [one.host for one in said])
    return Joined(lines)


def _on_hosts(output: Output, fleet: Fleet) -> None:
    if not click.get_current_context().params["follow"]:
        ask(output, fleet, _of_hosts)
        return
    named = before(fleet.hosts)
    for host, line in following.follow(fleet.hosts, ["gapless", "logs", *words(), *fleet.meant]):
        output.line({"host": host.name, "line": line}, named(host, line))


@click.command()
@on_each_host(_on_hosts)
@click.argument("release", required=False, shell_complete=completion.releases)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines of every release, until Ctrl-C.")
@click.option(
    "--lines", type=click.IntRange(0, MOST), default=50, show_default=True, help="How many of the last lines."
)
@click.option(
    "--since",
    type=MOMENT,
    metavar="TIME",
    help='Only what was written since: "10m" ago, or "2026-11-29 10:00". Under systemd; not of builds and hooks.',
)
@click.option(
    "--grep", type=PATTERN, default="", metavar="PATTERN", help="Only what matches; without a capital in both cases."
)
@common
@click.pass_obj
def command(
    output: Output,
    /,
    project: Project,
    release: str | None,
    follow: bool,
    lines: int,
    since: float | None,
    grep: str,
) -> None:
    """Without RELEASE: the current one. Its build, migration and hooks are in its log, too.

    Where a line tells of something that the sandbox refused, standard error says what to set.
    """
    wanted = release or project.current
    if wanted is None:
        raise GaplessError("show", "the log", "nothing was deployed yet", project.first)
    chosen = Lines(lines, since, grep)
    last = project.app.log(wanted, chosen)
    refused = recognise(last, project.app.home.sandbox(wanted))
    advice = [{"line": one.said, "hint": one.advice} for one in refused]
    output.result({"release": wanted, "lines": last, "advice": advice}, *last)
    told = _advise(output, refused, set())
    if follow:
        _follow(output, project, chosen, told)


def _follow(output: Output, project: Project, chosen: Lines, told: set[Kind]) -> None:
    recent = deque[str](maxlen=NEAR)  # a call, and the error that it ended with
    for line in project.app.follow(chosen):
        output.line({"line": line}, line)
        recent.append(line)
        release = line.partition(" | ")[0]
        told = _advise(output, recognise(recent, project.app.home.sandbox(release)), told)


def _advise(output: Output, refused: Sequence[Symptom], told: set[Kind]) -> set[Kind]:
    """Say what to set, each once; returns what was said by now."""
    for one in refused:
        if one.kind not in told:
            output.advise(f"{one.advice} (for: {one.said})")
    return told | {one.kind for one in refused}
