"""gapless pack [SOURCE]"""

from __future__ import annotations

import sys
from typing import BinaryIO

import click

from gapless.cli import completion
from gapless.cli.options import Project, common, dry_run, stop_like_ctrl_c
from gapless.cli.output import Output, in_a_line
from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.release import artifact
from gapless.release.packing import listed, packing


@click.command()
@click.argument("source", required=False, shell_complete=completion.files)
@click.option(
    "--have",
    type=click.File("rb"),
    metavar="FILE",
    help="Leave out what a host has, as `gapless releases --files --json` there lists it; - is standard input.",
)
@dry_run
@common
@click.pass_obj
def command(output: Output, /, project: Project, source: str | None, have: BinaryIO | None, dry_run: bool) -> None:
    """SOURCE is as for `gapless deploy`. The same files at the same revision are the same bytes, and have one id.

    The artifact goes to standard output. Files of variables and secrets are not in it: they stay on each host. With -n
    its id and the names of its files are the answer.
    """
    stop_like_ctrl_c()
    if not dry_run and (output.json or sys.stdout.isatty()):
        cause = "standard output is to get the artifact itself"
        hint = "send it somewhere, as in `gapless pack > shop.artifact`, or see with -n what is in it"
        raise GaplessError("pack", project.config.name, cause, hint, status=2)
    there = listed(have, have.name) if have else {}
    with packing(project.directory, source) as packed:
        for warning in packed.warnings:
            output.warn(warning)
        if dry_run:
            head = packed.head
            document = {"id": head.id, "revision": head.revision, "files": packed.files, "warnings": packed.warnings}
            output.result(document, f"{head.id}  {head.revision}", *(f"  {in_a_line(one)}" for one in packed.files))
            return
        try:
            artifact.write(packed.tree, packed.head, there, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # whoever reads says why
            raise
        except OSError as error:
            raise refusal("write", "the artifact", error) from error
