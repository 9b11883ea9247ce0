"""Every check, on an app and its host."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from gapless.config.settings import Config
from gapless.doctor import command, database, installed, leftovers, machine, other_proxies, proxy, sandbox
from gapless.doctor.finding import Finding, Severity
from gapless.errors import GaplessError
from gapless.home import Home
from gapless.release import lock, notifying, recovery, unconfirmed
from gapless.release.assets import Assets
from gapless.release.attempt import Target
from gapless.switch.app import App, Lines
from gapless.switch.embedded.control import UnreachableError
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome


def examine(config: Config, project: Path, app: App) -> list[Finding]:
    """All findings about `app`, whose next release comes from the directory `project`; raises nothing.

    Nothing is changed. What the caller may not see is UNKNOWN.
    """
    target = Target(app.home, app.manager)
    current, commit = _current(target)
    home = app.home
    there = home.installed if isinstance(home, SystemdHome) else True
    found = [commit] if there else []  # first: what else is wrong may come of it
    if isinstance(home, SystemdHome):
        found += _of_systemd(config, home, current)
    else:
        found += [Finding("systemd", Severity.OK, "not needed: the embedded manager holds the socket")]
    found += _guarded("backlog", lambda: [_backlog(config)])
    found += _guarded("disk", lambda: [machine.disk(home.root)])
    found += _guarded("clock", lambda: [_clock(target)])
    found += _guarded(
        "command", lambda: [command.wrapper(config.argv), command.limits(config), *command.families(config)]
    )
    if there:
        found += _guarded("ledger", lambda: [leftovers.ledger(target.ledger.unknown(target.store.names()))])
        if current:
            found += _guarded("current release", lambda: [leftovers.current_release(home, current)])
            found += _guarded("sandbox", lambda: _sandbox(app, current))
        if current is None or (home.releases / current).is_dir():
            found += _guarded("programs", lambda: [_programs(config, project, home, current)])
        found += _guarded("assets", lambda: _assets(target, current))
        found += _guarded("beside", lambda: _beside(home, current))
        found += _guarded("unconfirmed", lambda: _unconfirmed(app))
        found += _guarded("leftovers", lambda: _leftovers(target, app, current))
    found += _guarded("notify", lambda: _notify(home.config(current) if current else config, home))
    found += _guarded("replica", lambda: database.examine(config, home if isinstance(home, SystemdHome) else None))
    found += _guarded("Caddy", lambda: proxy.examine(config, home if isinstance(home, SystemdHome) else None))
    return found + _guarded("proxies", lambda: other_proxies.examine(config.addresses, config.drain.linger))


def _of_systemd(config: Config, home: SystemdHome, current: str | None) -> list[Finding]:
    found = _guarded("systemd", lambda: [machine.systemd(home)])
    found += _guarded("installation", lambda: [installed.installation(config, home, current)])
    if home.installed:
        found += _guarded("units", lambda: installed.units(home, current))
        found += _guarded("shared", lambda: [machine.shared(home.shared, home.owner)])
    found += _guarded("limits", lambda: machine.limits(config, home))
    if home.user:
        found += _guarded("linger", lambda: [machine.linger(home)])
    return found


def _guarded(name: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except PermissionError as error:
        return [Finding(name, Severity.UNKNOWN, f"{error.filename} cannot be read", "run it as root")]
    except UnreachableError as error:  # the embedded supervisor: it serves nothing, and may be meant to
        return [Finding(name, Severity.WARNING, error.cause, error.hint)]
    except GaplessError as error:
        return [Finding(name, Severity.FAILED, str(error), error.hint)]
    except OSError as error:
        return [Finding(name, Severity.FAILED, str(error))]


def _current(target: Target) -> tuple[str | None, Finding]:
    """The current release, as far as it can be known, and whether the commit file names it."""
    known: list[str | None] = []

    def look() -> list[Finding]:
        named = target.manager.current()
        known.append(named)
        known.append(recovery.current(target))
        return [leftovers.commit(target.manager.commit, named, known[-1])]

    [finding] = _guarded("commit", look)
    return (known or [None])[-1], finding


def _backlog(config: Config) -> Finding:
    limit = int(machine.SOMAXCONN.read_text())
    return machine.backlog(limit, machine.shortest_queue(machine.listeners(config.addresses), config.addresses))


def _clock(target: Target) -> Finding:
    synchronized = machine.ask("timedatectl", "show", "--property=NTPSynchronized", "--value")
    return machine.clock(synchronized, time.time(), max(target.store.names(), default=None))


def _programs(config: Config, project: Path, home: Home, current: str | None) -> Finding:
    if current is None and config.build.run:
        return Finding("programs", Severity.UNKNOWN, "there is no release yet, and its build may make its programs")
    directory = home.releases / current if current else project
    sandboxed = isinstance(home, SystemdHome)
    path = units.search_path(config, home, current or "") if isinstance(home, SystemdHome) else os.environ.get("PATH")
    return command.programs(config, directory, path or os.defpath, sandboxed=sandboxed, homes_hidden=bool(home.owner))


def _sandbox(app: App, current: str) -> list[Finding]:
    allowed = app.home.sandbox(current)
    if allowed is None:
        return []
    try:
        lines = app.log(current, Lines(sandbox.LINES))
    except GaplessError as error:  # not for everybody
        return [Finding("sandbox", Severity.UNKNOWN, str(error), error.hint)]
    found = sandbox.refused(lines, allowed)
    found += sandbox.packages(app.home.releases / current, allowed)
    return found or [Finding("sandbox", Severity.OK, "it refused nothing that the current release's log tells of")]


def _assets(target: Target, current: str | None) -> list[Finding]:
    paths = target.home.config(current).assets.paths if current else {}
    if not current or not paths:
        return []
    return [leftovers.assets(target.home.public, Assets(target.home).missing(current, paths))]


def _beside(home: Home, current: str | None) -> list[Finding]:
    config = home.config(current) if current else None
    wanted = [*config.shared.values(), *config.uploads.values()] if config else []
    return [leftovers.beside(home.shared, wanted)] if wanted else []


def _notify(config: Config, home: Home) -> list[Finding]:
    """Whether the program of [notify] may be run as it would be."""
    if not config.notify.command:
        return []
    if home.owner and os.geteuid() != 0:
        return [Finding("notify", Severity.UNKNOWN, "it is root who runs it", "run it as root")]
    notifying.must_be_ours(config.notify, home)
    return [Finding("notify", Severity.OK, f"{config.notify.argv[0]} is nobody else's to write")]


def _unconfirmed(app: App) -> list[Finding]:
    waits = unconfirmed.read(app.home.root)
    at_work = lock.holder(app.home.root) is not None
    return [leftovers.unconfirmed(waits, lasts=at_work or unconfirmed.lasts(waits))] if waits else []


def _leftovers(target: Target, app: App, current: str | None) -> list[Finding]:
    if holder := lock.holder(app.home.root):
        return [Finding("leftovers", Severity.OK, f"not looked for, because this is under way: {holder}")]
    found = [leftovers.halves(app.home.releases), leftovers.temporaries(app.home)]
    return found + _guarded("instances", lambda: _running(target, app, current))


def _running(target: Target, app: App, current: str | None) -> list[Finding]:
    running = recovery.seen(target.manager.instances(), current)
    home = app.home
    beside = [leftovers.companions(app.manager.companions(), home.own)] if isinstance(home, SystemdHome) else []
    waits = unconfirmed.read(home.root)
    running = [one for one in running if not (waits and one.release == waits.previous)]  # it stands by
    return [leftovers.instances(running), *beside, leftovers.unneeded(app.unneeded())]
