"""gapless init"""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gapless.cli.options import Project, anywhere, dry_run
from gapless.cli.output import Output
from gapless.config import FILE, parse
from gapless.config.problems import PLACEHOLDER
from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.upwards import writers

if TYPE_CHECKING:
    from gapless.survey import Findings

TEXT = """\
name = "{name}"
id = "{id}"            # tells this project from another one of its name; keep it
command = {command}
listen = "127.0.0.1:8000"
{more}
# `gapless config --example` shows every setting.
"""
# Its own virtual environment goes before the PATH, so `gapless serve` is the one in there. gapless comes in a step of
# its own: pip refuses it beside requirements with hashes, and no lock knows it.
BUILD = """
[build]{own}
# On a server it runs as the user NAME-build, who sees nothing in /root or /home and may write the release, which nobody
# can afterwards, and its own home, /srv/NAME/cache, where caches stay. What the app keeps goes to $GAPLESS_SHARED.
run = '''
{run}
'''
"""
SHARED = "[shared]             # what outlives a release: a link in each to a directory in $GAPLESS_SHARED"
UPLOADS = "[uploads]            # in $GAPLESS_SHARED, too: everybody gets what is in there who has its URL"
CHECK = """
[check]
path = "{page}"          # must answer 2xx before this release gets its first visitor
"""
NO_CHECK = """
[check]
# path = "/health"   # must answer 2xx before this release gets its first visitor; without it, start-up is enough
"""


@click.command()
@dry_run
@anywhere
@click.pass_obj
def command(output: Output, /, project: Project, dry_run: bool) -> None:
    """Guesses the app, its build, migration and check, from its files; what is there already is left alone."""
    path = Path(project.directory, FILE)
    if path.exists():
        output.result(
            {"path": str(path), "changed": False}, f"Already there: {path}. Remove it to have another one written."
        )
        return
    _refuse_others(project.directory)
    from gapless import survey  # only this verb pays for it
    from gapless.survey import wheel

    found = survey.of(project.directory)
    ours, packed = wheel.requirement() if found.installs else ("", "")
    name = re.sub(r"[^a-z0-9-]+", "-", project.directory.name.lower()).strip("-0123456789")[:32].rstrip("-") or "app"
    text = render(name, found, ours)
    parse(text.replace(PLACEHOLDER, "app:app"), path)  # which is refused everywhere else
    if not dry_run:
        try:
            with path.open("x") as file:  # also where it is a link that leads nowhere yet
                file.write(text)
            if packed:
                wheel.write(project.directory / packed)
        except OSError as error:
            raise refusal("write", str(path), error) from error
    document = {"path": str(path), "changed": not dry_run, "app": found.app or None, "text": text}
    document |= {"command": found.command or None}
    document |= {"kind": found.kind or None, "todo": found.todo, "wheel": packed or None}
    output.result(document, *_said(path, found, packed, text if dry_run else ""))


def _refuse_others(directory: Path) -> None:
    """Let root read and write nothing where somebody else could have put a link. Raises GaplessError."""
    if os.geteuid() == 0 and (why := writers(directory, {0})):
        hint = "run `gapless init` as the owner of the project, without sudo"
        raise GaplessError("make", str(directory / FILE), f"{why}, who would have root write elsewhere", hint)


def _said(path: Path, found: Findings, packed: str, text: str) -> list[str]:
    guess = f"the app is {found.app or found.command}"
    if not found.app and not found.command:
        guess = f"put your app in place of {PLACEHOLDER}"
    kind = f" ({found.kind})" if found.kind else ""
    lines = [f"{'Would write' if text else 'Wrote'} {path}: {guess}{kind}."]
    if packed:
        lines.append(f"With it {packed}, this very gapless, for the build: commit it, too.")
    lines += ["To do first:", *(f"  - {one}" for one in found.todo)] if found.todo else []
    if text:
        return [*lines, text]
    known = found.app or found.command
    return [*lines, "Next: gapless run here, or gapless up on a server."] if known else lines


def render(name: str, found: Findings, ours: str) -> str:
    """Write the gapless.toml of what was found; `ours` is gapless as a build asks for it."""
    command = found.command or " ".join(["gapless serve", *found.options, found.app or PLACEHOLDER])
    lines = [*found.installs.lines, f'{found.installs.add} "{ours}"'] if found.installs else []
    own = "              # each release has its own virtual environment" if found.installs else ""
    parts = [BUILD.format(own=own, run="\n".join(lines + found.build))] if lines + found.build else []
    if found.migrate:
        parts.append(
            "\n[release]            # before the switchover: old and new release must both live with the result\n"
            f"migrate = {_quoted(found.migrate)}\n"
        )
    parts.append(CHECK.format(page=found.page) if found.page else NO_CHECK)
    if found.host:
        parts.append(f"host = {_quoted(found.host)}\n")
    if found.https:
        parts.append('scheme = "https"     # as over a proxy that ends TLS\n')
    if found.processes:
        rows = "".join(f"{name} = {{ command = {_quoted(run)} }}\n" for name, run in found.processes.items())
        parts.append(f"\n[processes]          # beside the server, as the Procfile has them\n{rows}")
    if found.jit:
        parts.append("\n[sandbox]\njit = true           # makes machine code while it runs\n")
    if found.env:
        parts.append("\n[env]\n" + "".join(f"{key} = {_quoted(value)}\n" for key, value in found.env.items()))
    for head, table in (("[assets]", found.assets), (SHARED, found.shared), (UPLOADS, found.uploads)):
        if table:
            parts.append(f"\n{head}\n" + "".join(f"{_quoted(key)} = {_quoted(at)}\n" for key, at in table.items()))
    if found.todo:
        parts.append("\n# To do first:\n" + "".join(f"# - {one}\n" for one in found.todo))
    return TEXT.format(name=name, id=secrets.token_hex(4), command=_quoted(command), more="".join(parts))


def _quoted(text: str) -> str:
    return json.dumps(text)  # a basic string of TOML has the same escapes
