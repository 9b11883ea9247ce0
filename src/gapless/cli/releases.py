"""gapless releases"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import click

from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.linux.disk import refusal
from gapless.release import content, difference
from gapless.release.ledger import MIGRATION, Deploy, Outcome

NAMED = 4  # differences that a row has room for


@click.command()
@click.option(
    "--files", is_flag=True, help="List the files of the current release by their hashes, for `gapless pack`."
)
@common
@click.pass_obj
def command(output: Output, /, project: Project, files: bool) -> None:
    """The newest first. A bad one failed its deploy, a migrated one waits for it: no rollback goes there.

    Of two that have one revision, the newer says what it has otherwise: files, settings, variables and secrets by name.
    """
    current, deploys = project.current, project.ledger.deploys()
    if files:
        there = _files(project, current)
        output.result({"current": current, "files": there}, *(f"{one}  {name}" for name, one in there.items()))
        return
    documents = list[dict[str, object]]()
    rows = list[tuple[str, ...]]()
    names = project.store.names()
    for release in reversed(names):
        entry = deploys.get(release)
        state = "current" if release == current else _state(entry)
        revision = entry.revision if entry else ""
        when = entry.when if entry else None
        before = _before(release, names, deploys)
        differs = difference.between(project.app.home, before, release) if before else None
        told: dict[str, object] = {"release": release, "state": state, "revision": revision, "deployed_at": when}
        told["id"] = difference.made_of(project.app.home, release)
        documents.append(told | {"differs_from": before, "differs": differs})
        rows.append((release, state, revision, ago(when), _named(before, differs)))
    headings: tuple[str, ...] = ("RELEASE", "STATE", "REVISION", "DEPLOYED", "DIFFERS")
    if not any(row[-1] for row in rows):
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    lines = output.table(headings, rows) if rows else ["There are no releases yet."]
    output.result({"current": current, "releases": documents}, *lines)


def _state(entry: Deploy | None) -> str:
    if entry and entry.verb == MIGRATION and entry.outcome is Outcome.SUCCEEDED:
        return "migrated"
    return "bad" if entry and entry.bad else "good"


def _files(project: Project, current: str | None) -> dict[str, str]:
    try:
        return content.files(project.store.path(current)) if current else {}
    except OSError as error:
        raise refusal("read", f"release {current}", error) from error


def _before(release: str, names: Sequence[str], deploys: Mapping[str, Deploy]) -> str | None:
    """The newest of the releases `names` before `release` that has its revision; None where there is none."""
    entry = deploys.get(release)
    older = [one for one in names if one < release and one in deploys]
    return next((one for one in reversed(older) if entry and deploys[one].revision == entry.revision), None)


def _named(before: str | None, differs: list[str] | None) -> str:
    if before is None:
        return ""
    if differs is None:
        return f"unknown from {before}"
    more = [f"{len(differs) - NAMED} more"] if len(differs) > NAMED else []
    return f"{', '.join([*differs[:NAMED], *more]) or 'not'} from {before}"


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
