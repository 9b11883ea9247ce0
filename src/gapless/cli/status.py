"""gapless status"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import msgspec

from gapless.cli.fleet.choice import meant, on_hosts
from gapless.cli.fleet.status import status_of
from gapless.cli.options import Project, common
from gapless.cli.output import Output, in_a_line
from gapless.cli.prometheus import text as metrics
from gapless.cli.releases import ago
from gapless.errors import GaplessError
from gapless.linux import procfs
from gapless.release import difference, hold, lock, recovery, unconfirmed
from gapless.release.holding import Holder
from gapless.release.ledger import Deploy, Outcome
from gapless.span import show
from gapless.switch import orders, pause
from gapless.switch.manager import Companion, Instance, Role

PATIENCE = 0.2  # seconds for an instance: one that is too busy is shown without its figures


@click.command()
@click.option("--prometheus", is_flag=True, help="Answer in the text format of Prometheus; the exit status is then 0.")
@on_hosts
@common
@click.pass_obj
def command(output: Output, /, project: Project, prometheus: bool) -> None:
    """Connections, requests under way and descriptors (used of allowed; of several workers, of the one that has the
    fewest left) come from each instance's private socket, and whom it turned away at the limits of [serve]; memory is
    what it and its workers have resident.

    Exit status 1 if nothing serves.
    """
    if prometheus and output.json:
        raise click.UsageError("--prometheus is a format of its own: leave out --json")
    if not prometheus and (fleet := meant(project)):
        status_of(output, fleet)
        return
    seen = _look(project)
    if prometheus:
        output.result(None, *metrics(seen.document, seen.deploys).splitlines())
        return
    output.result(seen.document, *map(in_a_line, _lines(output, project, seen)))
    if seen.problem and not output.json:
        output.warn(f"{seen.problem.cause}; {seen.problem.hint}")
    if not any(one.role is Role.LIVE and one.ready for one in seen.instances):
        click.get_current_context().exit(1)


@dataclass
class _Seen:
    """What there is to tell of an app, as a document and as it is."""

    document: dict[str, Any]
    instances: Sequence[Instance]
    details: dict[str, dict[str, Any] | None]
    companions: Sequence[Companion]
    deploys: Sequence[Deploy]
    holder: Holder | None
    paused: pause.Pause | None
    waits: unconfirmed.Unconfirmed | None
    problem: GaplessError | None


def _look(project: Project) -> _Seen:
    app = project.app
    look = app.look()
    instances, problem = look.instances, look.trouble
    try:
        current = project.current
    except GaplessError as doubt:
        current, problem = None, doubt
    # The commit file is lost, and with it what the manager takes the live one for.
    if current != app.manager.current():
        instances = recovery.seen(instances, current)
    details = {one.id: orders.status(one.private, PATIENCE) for one in instances}
    holder = lock.holder(app.home.root) or hold.hold(app.home.root)
    paused = pause.lasting(app.home)
    waits = unconfirmed.read(app.home.root)
    waits = waits if waits and waits.release == current else None
    deploys = project.ledger.entries()
    document = {
        "name": project.config.name,
        "listen": project.config.addresses,
        "current": current,
        "id": difference.made_of(app.home, current) if current else None,
        "manager": app.kind,
        "supervisor": look.supervisor,
        "locked_by": holder.told if holder else None,
        "paused": {"who": paused.who, "since": paused.since, "until": paused.until} if paused else None,
        "unconfirmed": waits.told if waits else None,
        "last": _last(deploys[-1] if deploys else None),
        "companions": [msgspec.to_builtins(one) for one in look.companions],
        "instances": [
            msgspec.to_builtins(one) | {"memory": procfs.memory(one.pid), "status": details[one.id]}
            for one in instances
        ],
    }
    return _Seen(document, instances, details, look.companions, deploys, holder, paused, waits, problem)


def _lines(output: Output, project: Project, seen: _Seen) -> list[str]:
    current = seen.document["current"] or "none"
    lines = [f"{project.config.name} on {', '.join(project.config.addresses)}, current release: {current}"]
    if seen.instances:
        headings = ("ROLE", "RELEASE", "STATE", "PID", "UP", "MEMORY", "CONNECTIONS", "UNDER WAY", "DESCRIPTORS")
        lines += ["", *output.table(headings, [_row(one, seen.details[one.id]) for one in seen.instances])]
        away = ((one.release, _turned_away(seen.details[one.id])) for one in seen.instances)
        lines += [f"{release} turned away {told}." for release, told in away if told]
    else:
        lines.append("No instance runs.")
    if seen.companions:
        rows = [(one.name, one.kind, one.release, one.trouble or one.state) for one in seen.companions]
        lines += ["", *output.table(("BESIDE", "KIND", "RELEASE", "STATE"), rows)]
    if seen.holder:
        lines.append(f"Locked: {seen.holder}.")
    if seen.paused:
        lines.append(f"Paused {seen.paused}: visitors wait; `gapless resume` ends that.")
    if seen.waits:
        lines.append(f"Unconfirmed: {seen.waits}. `gapless confirm` keeps it, `gapless rollback` turns back.")
    if seen.deploys and (last := seen.deploys[-1]).outcome is not Outcome.SUCCEEDED:
        lines.append(f"The last {last.verb}, to {last.to}, {_ended(last)}")
    return lines


def _row(one: Instance, status: dict[str, Any] | None) -> tuple[str, ...]:
    told = status or {"state": "ready" if one.ready else "starting"}
    up = show(max(time.time() - one.since, 0))
    counts = tuple(str(told.get(key, "?")) for key in ("connections", "requests"))
    memory = f"{procfs.memory(one.pid) / 1_000_000:.0f} MB"
    taken, allowed = told.get("descriptors"), told.get("descriptors_allowed")
    used = f"{taken:,} of {allowed:,}" if isinstance(taken, int) and isinstance(allowed, int) else "?"
    return one.role, one.release, str(told["state"]), str(one.pid), up, memory, *counts, used


def _turned_away(status: dict[str, Any] | None) -> str:
    """Say how many visitors an instance turned away, and why; "" where there were none."""
    counts = (status or {}).get("turned_away")
    found = counts.items() if isinstance(counts, dict) else ()
    return ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in found if isinstance(count, int) and count)


def _last(attempt: Deploy | None) -> dict[str, object] | None:
    if attempt is None:
        return None
    return {key: getattr(attempt, key) for key in ("verb", "to", "who", "when", "outcome", "error")}


def _ended(attempt: Deploy) -> str:
    if attempt.outcome is Outcome.RUNNING:
        return f"is under way (by {attempt.who}, since {ago(attempt.when)})."
    why = f": {attempt.error}" if attempt.error else ""
    return f"{attempt.outcome} {ago(attempt.when)} (by {attempt.who}){why}"
