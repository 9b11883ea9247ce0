"""gapless releases"""

from __future__ import annotations

import time

import click

from gapless.cli.options import Project, common
from gapless.cli.output import Output


@click.command()
@common
@click.pass_obj
def command(output: Output, /, project: Project) -> None:
    """The newest first. A bad one failed its deploy: no rollback goes there."""
    current, deploys = project.current, project.ledger.deploys()
    documents, rows = [], []
    for release in reversed(project.store.names()):
        entry = deploys.get(release)
        state = "current" if release == current else "bad" if entry and entry.bad else "good"
        revision = entry.revision if entry else ""
        when = entry.when if entry else None
        documents.append({"release": release, "state": state, "revision": revision, "deployed_at": when})
        rows.append((release, state, revision, ago(when)))
    lines = output.table(("RELEASE", "STATE", "REVISION", "DEPLOYED"), rows) if rows else ["There are no releases yet."]
    output.result({"current": current, "releases": documents}, *lines)


def ago(when: float | None) -> str:
    """How long ago a moment (Unix seconds) was."""
    if when is None:
        return ""
    seconds = max(time.time() - when, 0)
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
