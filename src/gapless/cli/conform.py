"""gapless conform -- COMMAND"""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gapless.cli.options import speaking
from gapless.cli.output import Output

if TYPE_CHECKING:
    from gapless.conform.case import Case, Result

COLOURS = {"pass": "green", "fail": "red", "not applicable": "yellow"}


@click.command()
@click.argument("server", nargs=-1, metavar="-- COMMAND...")
@click.option("--list", "lists", is_flag=True, help="List the cases, and run nothing.")
@click.option(
    "--only", multiple=True, metavar="CASE", help="Run this case (2.3) or family (2, sockets) alone. Repeatable."
)
@click.option("--report", type=click.Path(path_type=Path), help="Write a self-contained HTML page here.")
@speaking
@click.pass_obj
def command(
    output: Output, /, server: tuple[str, ...], lists: bool, only: tuple[str, ...], report: Path | None
) -> None:
    """Plays the service manager: holds the socket (LISTEN_FDS, descriptor 3), runs the command as the old and as the
    new release, and tries one trap at a time. The command runs in a directory with ready apps, such as app:app
    (ASGI), app:wsgi, server.js and config.ru: docs/conform.md. Exit status 1 if a case fails.
    """
    from gapless.conform.battery import chosen, learn, run

    cases = chosen(only)
    if lists:
        output.result({"cases": [_listed(one) for one in cases]}, *(f"{one.number:<5} {one.title}" for one in cases))
        return
    if not server:
        raise click.UsageError(
            "name the server's command after --, for example: gapless conform -- gapless serve app:app"
        )
    if "/" in server[0]:  # it is not run where we are
        server = (str(Path(server[0]).absolute()), *server[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what runs by then is ended
    began = time.time()
    facts = learn(server)
    results = run(server, cases, facts, lambda one: output.say(_line(one)))
    counts = Counter(str(one.outcome) for one in results)
    document = {
        "command": shlex.join(server),
        "started_at": began,
        "seconds": round(time.time() - began, 3),
        **{name.replace(" ", "_"): counts[name] for name in COLOURS},
        "cases": [one.to_json() for one in results],
    }
    summary = ", ".join(f"{counts[name]} {name}" for name in COLOURS)
    output.result(document, f"{summary}: {shlex.join(server)}, {time.time() - began:.0f} s.")
    if report:
        from gapless.conform.page import render
        from gapless.prove.report import write

        write(report, render(document))
        output.say(f"Report: {report}")
    if counts["fail"]:
        sys.exit(1)


def _listed(case: Case) -> dict[str, str]:
    return {"number": case.number, "title": case.title}


def _line(result: Result) -> str:
    verdict = click.style(f"{result.outcome:<14}", fg=COLOURS[result.outcome])
    return f"{verdict}  {result.case.number:<5} {result.case.title}\n{'':21} {result.evidence}"
