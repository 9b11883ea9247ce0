"""gapless database status|sync|restore|verify"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime

import click

from gapless.cli import completion
from gapless.cli.deploy import lock_wait
from gapless.cli.options import Project, common, dry_run, go_on_without_terminal, need_root, yes
from gapless.cli.output import Output
from gapless.cli.types import SPAN
from gapless.errors import GaplessError
from gapless.release.attempt import SILENT
from gapless.release.deploy import locked
from gapless.release.pause import visitors_waiting
from gapless.span import show
from gapless.switch.systemd import database, litestream
from gapless.switch.systemd.app import SystemdApp
from gapless.switch.systemd.lag import Lag, lag
from gapless.switch.systemd.litestream import Litestream
from gapless.switch.systemd.replacement import replace


@click.group()
def command() -> None:
    """The replica that Litestream keeps of the app's SQLite database, `[database]` in gapless.toml. As root; whatever
    opens the database, or the replica, runs as the app's own account.
    """


@command.command()
@common
@click.pass_obj
def status(output: Output, project: Project) -> None:
    """Show how far the replica is behind.

    Exit status 1 if Litestream is down or the replica cannot be asked.
    """
    one, problem, found = _litestream(project), None, None
    state = one.state()
    try:
        found = lag(one)
    except GaplessError as error:
        problem = error
    if not one.runs:
        hint = f"`journalctl -u {one.home.litestream}` says why; `systemctl restart {one.home.litestream}`"
        problem = GaplessError("copy", str(one.path), f"{one.home.litestream} is {state['ActiveState']}", hint)
    document = {
        "path": str(one.path),
        "replica": one.database.replica,
        "unit": one.home.litestream,
        "state": state["ActiveState"],
        "bytes": database.size(one.path),
        "wal_bytes": database.size(one.path.with_name(f"{one.path.name}-wal")),
        "written_at": database.written(one.path) or None,
        "txid": found.local or None if found else None,
        "replica_txid": found.replica or None if found else None,
        "replica_at": found.replica_at or None if found else None,
        "lag_seconds": round(found.seconds, 3) if found and found.seconds is not None else None,
        "problem": {"cause": problem.cause, "hint": problem.hint} if problem else None,
    }
    sizes = f"{document['bytes']:,} bytes, {document['wal_bytes']:,} in its log"
    lines = [f"{one.path} ({sizes}) → {one.database.replica}", f"{one.home.litestream}: {state['ActiveState']}"]
    lines += [_told(found)] if found else []
    output.result(document, *lines)
    if problem:
        if not output.json:
            output.warn(f"{problem.cause}; {problem.hint}")
        click.get_current_context().exit(1)


@command.command()
@common
@click.pass_obj
def sync(output: Output, project: Project) -> None:
    """Have the replica hold all that is written by now, and wait for that."""
    one, began = _litestream(project), time.monotonic()
    _must_exist(one)
    txid = one.sync()
    seconds = time.monotonic() - began
    output.result({"txid": txid, "seconds": round(seconds, 3)}, f"The replica is at {txid}, in {show(seconds)}.")


@command.command()
@common
@click.pass_obj
def verify(output: Output, project: Project) -> None:
    """Restore the replica to a file beside the database, and see that it is whole and has the newest rows."""
    one, began = _litestream(project), time.monotonic()
    _must_exist(one)
    rows = database.newest(one)
    txid = one.sync()
    with database.scratch(one, f"verify-{os.getpid()}") as copy:
        restored = one.restore(copy)
        missing, size = database.without(one, copy, rows), database.size(copy)
    if missing:
        cause = f"the newest row of {', '.join(missing)} is not in it"
        raise GaplessError("verify", one.database.replica, cause, "`gapless database status` shows how far it is")
    seconds = time.monotonic() - began
    document = {
        "txid": restored.get("txid") or txid,
        "bytes": size,
        "tables": len(rows),
        "seconds": round(seconds, 3),
    }
    line = f"The replica is whole: {size:,} bytes, the newest rows of {len(rows)} tables are there, in {show(seconds)}."
    output.result(document, line)


@command.command()
@click.option(
    "--before",
    metavar="RELEASE",
    shell_complete=completion.releases,
    help="To the point right before this release migrated the database.",
)
@click.option(
    "--at-most", type=SPAN, default="60s", show_default=True, metavar="TIME", help="Visitors under way have so long."
)
@dry_run
@yes
@lock_wait
@common
@click.pass_obj
def restore(
    output: Output,
    /,
    project: Project,
    before: str | None,
    at_most: float,
    dry_run: bool,
    yes: bool,
    lock_wait: float,
) -> None:
    """Put what the replica holds in the place of the database, which stays beside it under another name.

    It is restored and checked beforehand. Then visitors wait, as in a pause, while all that has the database open
    starts anew: as long as a drain takes.
    """
    one = _litestream(project)
    point = _point(output, project, one, before)
    what = f"right before {before} migrated it" if before else "as the replica has it"
    if dry_run:
        output.result({"plan": [f"Restore {one.path}, {what}."], "txid": point or None}, f"Restore {one.path}, {what}.")
        return
    if not yes and not output.json and sys.stdin.isatty():
        click.confirm(f"Replace {one.path}, {what}?", abort=True)
    go_on_without_terminal()
    target, began = project.target(SILENT, lock_wait), time.monotonic()
    assert isinstance(project.app, SystemdApp)  # noqa: S101 -- for mypy: see _litestream
    kept = one.path.with_name(f"{one.path.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    there = os.path.lexists(one.path)
    if not point and there and one.runs:
        _sync_if_possible(output, one)
    with locked(target, "database restore"), database.scratch(one, "restoring") as copy:
        restored = one.restore(copy, *(["-txid", point] if point else []))
        with visitors_waiting(target, at_most):
            replace(project.app.manager, one, copy, kept)
    seconds = time.monotonic() - began
    document = {
        "txid": restored["txid"],
        "kept": str(kept) if there else None,
        "bytes": database.size(one.path),
        "seconds": round(seconds, 3),
    }
    beside = f"; the one before is {kept}" if there else ""
    output.result(document, f"{one.path} is at {restored['txid']}{beside}.")


def _litestream(project: Project) -> Litestream:
    """Raises GaplessError where the app has no database of which Litestream knows."""
    name, home = project.config.name, project.installed
    if not project.config.database.path:
        hint = "`gapless config --example` shows the settings of [database]"
        raise GaplessError("use", f"the database of {name}", "gapless.toml has no [database]", hint, status=2)
    one = litestream.of(home, project.config) if home else None
    if one is None:
        cause = "it is not installed under systemd for the whole machine"
        raise GaplessError("use", f"the database of {name}", cause, "`sudo gapless up` does that")
    need_root(f"use the database of {name}")
    one.must_be_installed()
    return one


def _must_exist(one: Litestream) -> None:
    if not os.path.lexists(one.path):
        hint = "the app makes it, or `gapless database restore`"
        raise GaplessError("sync", str(one.path), "there is no such file", hint)


def _sync_if_possible(output: Output, one: Litestream) -> None:
    try:
        one.sync()
    except GaplessError as error:
        output.warn(f"the replica may be behind what is written: {error.cause}")


def _point(output: Output, project: Project, one: Litestream, before: str | None) -> str:
    """The transaction to go back to; "" is the newest. Raises GaplessError."""
    if before is None:
        return ""
    wanted = project.ledger.before(before)
    if not wanted:
        cause = "the ledger has no point before a migration of it"
        hint = "`gapless audit --json` has a `txid` for each release that has one"
        raise GaplessError("go back to before", before, cause, hint, status=2)
    if (current := project.current) and current >= before:
        cause = f"{current} is live, and may want what {before} made of the database"
        raise GaplessError("go back to before", before, cause, "roll back first: `gapless rollback`")
    ends = [end for end in one.reached() if str(end["max_txid"]) <= wanted]
    if not ends:
        cause = f"the replica reaches back to no point before {wanted}"
        raise GaplessError("go back to before", before, cause, "`[database] retention` says how far back it reaches")
    if ends[-1]["max_txid"] != wanted:
        output.warn(
            f"the replica has the point right before {before} no more; it goes to the one of {ends[-1]['timestamp']}"
        )
    return str(ends[-1]["max_txid"])


def _told(found: Lag) -> str:
    if found.seconds is None:
        return "There is no replica yet."
    if not found.seconds:
        return f"The replica has all of it, up to {found.replica}."
    return f"The replica is {show(found.seconds)} behind: it is at {found.replica}."
