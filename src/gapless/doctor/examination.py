"""Every check, on an app and its host."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from gapless.config import Config
from gapless.doctor import command, installed, leftovers, machine, proxy
from gapless.doctor.finding import Finding, Severity
from gapless.errors import GaplessError
from gapless.home import EMBEDDED
from gapless.release import lock, recovery
from gapless.release.attempt import Target
from gapless.release.store import Store
from gapless.switch.embedded.control import UnreachableError
from gapless.switch.embedded.manager import EmbeddedManager
from gapless.switch.systemd.manager import SystemdManager
from gapless.switch.systemd.names import Place
from gapless.switch.systemd.systemctl import Systemctl


def examine(config: Config, project: Path, place: Place | None) -> list[Finding]:
    """All findings about the app in `project`, under systemd at `place` or with the embedded manager; raises nothing.

    Nothing is changed. What the caller may not see is UNKNOWN.
    """
    home = place.root if place else project / EMBEDDED
    target = Target(home, SystemdManager(place) if place else EmbeddedManager(home))
    current, commit = _current(target)
    found = _guarded("systemd", lambda: [machine.systemd(place)])
    installed_there = place is not None and place.installed
    if place is not None:
        found += _guarded("installation", lambda: [installed.installation(config, place, current)])
        if installed_there:
            found += _guarded("units", lambda: installed.units(place, Systemctl(place.user), current))
            found += _guarded("shared", lambda: [machine.shared(place.shared, place.owner)])
        if place.user:
            found += _guarded("linger", lambda: [machine.linger(place)])
    found += _guarded("backlog", lambda: [_backlog(config)])
    found += _guarded("disk", lambda: [machine.disk(home)])
    found += _guarded("clock", lambda: [_clock(home)])
    found += _guarded("command", lambda: [command.wrapper(config.argv)])
    if place is None or installed_there:
        found.append(commit)
        found += _guarded("programs", lambda: [_programs(config, project, place, target, current)])
        found += _guarded("leftovers", lambda: _leftovers(target, place, current))
    return found + _guarded("Caddy", lambda: _caddy(config))


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
    return machine.backlog(limit, machine.shortest_queue(machine.listeners(), config.addresses))


def _clock(home: Path) -> Finding:
    synchronized = machine.ask("timedatectl", "show", "--property=NTPSynchronized", "--value")
    return machine.clock(synchronized, time.time(), max(Store(home).names(), default=None))


def _programs(config: Config, project: Path, place: Place | None, target: Target, current: str | None) -> Finding:
    if current is None and config.build.run:
        return Finding("programs", Severity.UNKNOWN, "there is no release yet, and its build may make its programs")
    directory = target.store.path(current) if current else project
    homes_hidden = place is not None and bool(place.owner)
    return command.programs(config, directory, sandboxed=place is not None, homes_hidden=homes_hidden)


def _leftovers(target: Target, place: Place | None, current: str | None) -> list[Finding]:
    if holder := lock.holder(target.home):
        return [Finding("leftovers", Severity.OK, f"not looked for, because this is under way: {holder}")]
    found = [leftovers.halves(target.store.releases), leftovers.temporaries(target.home, place)]
    return found + _guarded("instances", lambda: _running(target, place, current))


def _running(target: Target, place: Place | None, current: str | None) -> list[Finding]:
    running = recovery.seen(target.manager.instances(), current)
    found = [leftovers.instances(running)]
    if place is not None:
        found.append(leftovers.unit_files(place, target.store.names(), {one.release for one in running}))
    return found


def _caddy(config: Config) -> list[Finding]:
    if not proxy.CADDYFILE.exists():
        return []
    found = proxy.caddy(proxy.CADDYFILE.read_text("utf-8"), config.addresses, config.drain.linger)
    return [found] if found else []
