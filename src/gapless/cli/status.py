"""gapless status"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from gapless.cli.options import Project, common
from gapless.cli.output import Output
from gapless.errors import GaplessError
from gapless.release import lock
from gapless.serve.private import STATUS_PATH
from gapless.span import show
from gapless.switch import records
from gapless.switch.control import UnreachableError
from gapless.switch.manager import Instance, Role
from gapless.unix_http import get


@click.command()
@common
@click.pass_obj
def command(output: Output, /, project: Project) -> None:
    """Connections, and requests under way, come from each instance's private socket.

    Exit status 1 if nothing serves.
    """
    about, instances, problem = _look(project)
    details = {one.id: _ask(one) for one in instances}
    holder = lock.hold(project.home) or lock.holder(project.home)
    current = project.manager.current()
    document = {
        "name": project.config.name,
        "listen": project.config.addresses,
        "current": current,
        "supervisor": about,
        "locked_by": msgspec.to_builtins(holder) if holder else None,
        "instances": [msgspec.to_builtins(one) | {"status": details[one.id]} for one in instances],
    }
    serving = any(one.role is Role.LIVE and one.ready for one in instances)
    lines = [f"{project.config.name} on {', '.join(project.config.addresses)}, current release: {current or 'none'}"]
    if instances:
        headings = ("ROLE", "RELEASE", "STATE", "PID", "UP", "CONNECTIONS", "UNDER WAY")
        lines += ["", *output.table(headings, [_row(one, details[one.id]) for one in instances])]
    else:
        lines.append("No instance runs.")
    if holder:
        lines.append(f"Locked: {holder}.")
    output.result(document, *lines)
    if problem and not output.json:
        output.warn(f"{problem.cause}; {problem.hint}")
    if not serving:
        click.get_current_context().exit(1)


def _look(project: Project) -> tuple[object, Sequence[Instance], GaplessError | None]:
    """The supervisor and its instances; without one, what it left running."""
    try:
        return msgspec.to_builtins(project.manager.about()), project.manager.instances(), None
    except UnreachableError as error:
        left = [_left(record, project.manager.current()) for record in records.running(project.place)]
        return None, left, error


def _left(record: records.Record, current: str | None) -> Instance:
    live = Role.LIVE if record.release == current else Role.CANDIDATE
    role = Role.RETIRING if record.state.is_retiring else live
    ready = record.state.is_ready
    return Instance(record.id, record.release, role, record.pid, record.since, ready, record.private)


def _ask(instance: Instance) -> dict[str, Any] | None:
    """The status document of an instance; None for a server that has none, or is too busy to answer."""
    try:
        _, _, body = get(instance.private, STATUS_PATH, "localhost", 0.2)
        document = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return document if isinstance(document, dict) and "state" in document else None


def _row(one: Instance, status: dict[str, Any] | None) -> tuple[str, ...]:
    told = status or {"state": "ready" if one.ready else "starting"}
    up = show(max(time.time() - one.since, 0))
    counts = tuple(str(told.get(key, "?")) for key in ("connections", "requests"))
    return one.role, one.release, told["state"], str(one.pid), up, *counts
