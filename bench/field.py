"""Real applications, from `gapless init` to a proven deploy on a systemd host, as root: what each needs.

python -m bench.field [--write] [NAME …]

Writes the table in docs/applications.md where all are tried; with --write the lines of those that are named. The
packages come from the registries that this machine's pip and npm use. The exit status is not 0 when an application does
not come up, or its proof lost a request.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.host.host import Host, install_requirements

from bench.__main__ import put_between
from bench.applications import ALL, Application
from bench.gateway import gateway

PAGE = Path(__file__).parents[1] / "docs" / "applications.md"
REQUIREMENTS = Path(__file__).parents[1] / "tests/host/requirements.sh"
COMMIT = "git add -A && git -c user.name=a -c user.email=a@example.com commit -qm one"
CHANGED = "date +%N > changed.txt && git add changed.txt"  # what the second release has
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}  # the host's own Python makes the virtual environments
WITHIN = 900.0  # seconds for a command: builds install a lot
HEADINGS = [
    "application",
    "command",
    "left to its author",
    "without that",
    "settings",
    "requests of the proof",
    "lost",
]


@dataclass
class Tried:
    """What came of one application; `failed` is empty where all went well."""

    one: Application
    took: str = ""
    settings: int = 0
    requests: int = 0
    lost: int = 0
    seconds: float = 0.0
    failed: str = ""

    def cells(self) -> str:
        """The row of the table."""
        cells = [self.one.title, f"`{self.took}`", self.one.author or "nothing", self.one.fails or "–"]
        return f"| {' | '.join([*cells, str(self.settings), f'{self.requests:,}', str(self.lost)])} |"


class StepError(Exception):
    """A command failed; the text is what it said."""


def trial(host: Host, name: str, one: Application) -> Tried:
    """Do what a user does: write the project, `init`, what is left to do, `up`, a change, a proven deploy."""
    tried, project = Tried(one), f"/opt/{name}"
    began = time.monotonic()
    try:
        host.run("mkdir", "-p", project)
        host.write_all(project, one.files)
        for line in (*one.made, "git init -q", COMMIT):
            _do(host, project, line)
        _do(host, project, "gapless init")
        host.write_all(project, one.written)
        for name_of_file, parts in one.edited.items():
            host.write_all(project, {name_of_file: _edited(host.read(f"{project}/{name_of_file}"), parts)})
        for line in (*one.then, COMMIT):
            _do(host, project, line)
        settings = tomllib.loads(host.read(f"{project}/gapless.toml"))
        tried.took, tried.settings = settings["command"], _count(settings)
        _do(host, project, "gapless up")
        _do(host, project, CHANGED)
        done = json.loads(_do(host, project, "gapless deploy --prove --watch 5s --json"))
        report = host.read(done["report"])
        tried.requests, tried.lost = _proof(report)
    except StepError as error:
        tried.failed = str(error)
    finally:
        host.gapless("down", "--data", "--yes", cwd=project, timeout=WITHIN, check=False)
    tried.seconds = time.monotonic() - began
    return tried


def _edited(text: str, parts: dict[str, str]) -> str:
    for old, new in parts.items():
        if old not in text:
            raise StepError(f"{old!r} is not in\n{text}")
        text = text.replace(old, new, 1)
    return text


def _do(host: Host, project: str, line: str) -> str:
    done = host.run("sh", "-ec", line, cwd=project, env=PATH, timeout=WITHIN, check=False)
    if done.returncode:
        raise StepError(f"$ {line}\n{done.stdout}{done.stderr}")
    return done.stdout


def _count(settings: dict[str, object]) -> int:
    """How many settings a gapless.toml has; a build's lines count one each."""
    return sum(
        _count(value) if isinstance(value, dict) else len(str(value).strip().splitlines())
        for value in settings.values()
    )


def _proof(report: str) -> tuple[int, int]:
    """The requests and the losses of a report."""
    said = re.search(r"<td>all</td>\s*<td[^>]*>([\d,]+)</td>\s*<td[^>]*>([\d,]+)</td>", report)
    if said is None:
        raise StepError("the report does not tell of requests")
    return int(said[1].replace(",", "")), int(said[2].replace(",", ""))


def _publish(rows: dict[str, str]) -> None:
    """Put `rows` into the table, by their titles; the others stay as they are."""
    known = {line.split(" | ")[0].removeprefix("| "): line for line in PAGE.read_text().splitlines()} | rows
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}"]
    lines += [known[one.title] for one in ALL.values() if one.title in known]
    put_between(PAGE, "field", "".join(f"{line}\n" for line in lines))


def main(argv: list[str] | None = None) -> int:
    """Try the applications that `argv` names, all without any; print and return what came of them."""
    parser = argparse.ArgumentParser(prog="bench.field", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ALL, []], help=f"of: {', '.join(ALL)}")
    parser.add_argument("--write", action="store_true", help="write the lines of those that are named, too")
    options = parser.parse_args(argv)
    names = options.names or [*ALL]
    install_requirements()
    for what in ("builds", "servers"):
        subprocess.run([str(REQUIREMENTS), what], check=True, timeout=300)
    found = []
    with Host() as host, gateway(host):
        host.write("/usr/local/bin/gapless", f'#!/bin/sh\nexec {sys.executable} -m gapless "$@"\n', 0o755)
        for name in names:
            tried = trial(host, name, ALL[name])
            found.append(tried)
            print(f"{name}: {tried.seconds:.0f} s: {tried.failed or tried.cells()}", flush=True)
    if options.write or not options.names:
        _publish({one.one.title: one.cells() for one in found if not one.failed})
    return int(any(one.failed or one.lost for one in found))


if __name__ == "__main__":
    sys.exit(main())
