"""What a deploy and a rollback do, in the order in which they do it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gapless import environment
from gapless.config import Command, Config, load
from gapless.errors import GaplessError
from gapless.release import recovery, sources
from gapless.release.attempt import Attempt, Site
from gapless.release.commands import run
from gapless.release.ledger import SWITCH, TURN_BACK, Finished, Outcome, Phase
from gapless.release.lock import DeployLock, deploy_lock
from gapless.release.owner import give
from gapless.release.prune import remove_old
from gapless.release.switching import switch_over
from gapless.release.trial import Trial, end_watch
from gapless.switch import engine

TURN_BACK_WAIT = 120.0  # seconds that a rollback waits for another command to turn back


@dataclass(frozen=True)
class Result:
    """What was done: `outcome` is SWITCHED, or ALREADY_LIVE when nothing had to be done; `report` may be empty."""

    release: str
    previous: str | None
    outcome: engine.Outcome
    phases: tuple[Phase, ...] = ()
    report: str = ""


def deploy(site: Site, project: Path, source: str | None = None, trial: Trial | None = None) -> Result:
    """Make a new release of `source` (see `sources.find`) the current one, and keep it if it stands its `trial`.

    Raises GaplessError; unless the commit happened, what served before goes on serving (invariant 3), and after
    a trial that was not stood it serves again.
    """
    with _locked(site, "deploy") as lock:
        found = sources.find(project, source)
        release = site.store.new_name(site.clock.now(), found.short)
        lock.name(release=release)
        with Attempt(site, "deploy", release, site.manager.current(), found.revision) as attempt:
            with attempt.phase("install"):
                config = _install(site, project, found, release)
            _build(site, attempt, config)
            _migrate(site, attempt, config, lock)
            switch_over(site, attempt, config, lock, trial)
        _prune(site, attempt, config)
    return Result(release, attempt.previous, engine.Outcome.SWITCHED, tuple(attempt.phases), attempt.report)


def rollback(site: Site, to: str | None = None, trial: Trial | None = None) -> Result:
    """Make an older release the current one again: `to`, or the newest good one before the current.

    A release that another command has on trial is turned back by that command, at once.
    Raises GaplessError, as `deploy`. Nothing is migrated back: releases must live with their neighbours' data.
    """
    on_trial = recovery.current(site)
    asked = to != on_trial and end_watch(site)
    if asked:
        to = to or pick(site, on_trial, None)
        site = replace(site, lock_wait=max(site.lock_wait, TURN_BACK_WAIT))
    with _locked(site, "rollback") as lock:
        current = site.manager.current()
        release = pick(site, current, to)
        if release == current:
            if asked:  # the other command did it
                return Result(release, on_trial, engine.Outcome.SWITCHED)
            return Result(release, current, engine.Outcome.ALREADY_LIVE)
        config = load(site.store.path(release))
        lock.name(release=release)
        with Attempt(site, "rollback", release, current, _revision(site, release)) as attempt:
            switch_over(site, attempt, config, lock, trial)
    return Result(release, current, engine.Outcome.SWITCHED, tuple(attempt.phases), attempt.report)


def prune(site: Site, keep: int) -> list[str]:
    """Remove every release but the newest `keep` good ones and those in use; returns what went."""
    with _locked(site, "prune"):
        return remove_old(site.store, site.ledger, site.manager, keep)


def pick(site: Site, current: str | None, to: str | None) -> str:
    """The release a rollback would go to. Raises GaplessError when there is none, or `to` is not fit for it."""
    present = site.store.names()
    if to is None:
        return site.ledger.rollback_target(current, present)
    if to not in present:
        there = ", ".join(present) or "none"
        raise GaplessError("roll back to", to, "there is no such release", f"there are: {there}", status=2)
    if to != current and site.ledger.bad(to):
        cause = "its deploy failed, was turned back, or was killed before it served"
        raise GaplessError("roll back to", to, cause, "pick another one; `gapless releases` lists them")
    return to


@contextmanager
def _locked(site: Site, verb: str) -> Iterator[DeployLock]:
    """The lock, and everything that a killed command left behind repaired (invariant 5)."""
    with deploy_lock(site.home, why=verb, wait=site.lock_wait, clock=site.clock) as lock:
        try:
            site.store.clean()
        except GaplessError as error:
            site.observer.warning(str(error))
        recovery.restore(site)
        current = site.manager.current()
        for killed in site.ledger.unfinished():
            now = site.clock.now()
            if current and killed.to == current:
                _finish_commit(site, current)
            if killed.to == current and killed.from_ != current and not killed.switched:
                # It died between the commit and the record of it.
                site.ledger.append(Phase(killed.id, SWITCH, now, 0.0, Outcome.SUCCEEDED))
            elif killed.switched and current == killed.from_ != killed.to:  # the same, of turning back
                site.ledger.append(Phase(killed.id, TURN_BACK, now, 0.0, Outcome.SUCCEEDED))
            site.ledger.append(Finished(killed.id, now, Outcome.INTERRUPTED, f"the {killed.verb} was killed"))
        engine.repair(site.manager)
        yield lock


def _finish_commit(site: Site, current: str) -> None:
    """Again what follows a commit: its deployer may have died before all of it was done."""
    try:
        site.manager.point(current)
    except (GaplessError, OSError) as error:  # the disk is full: a prune must be possible all the same
        site.observer.warning(f"cannot finish the commit of {current}: {error}")


def _install(site: Site, project: Path, found: sources.Source, release: str) -> Config:
    def fill(target: Path) -> None:
        found.install(target)
        config = load(target)
        sources.leave_out(target, (config.env_file, *config.secrets.values()))

    directory = site.store.add(release, fill)
    config = load(directory)
    environment.fix(site.home, release, config, project)
    if site.owner:
        give(directory, site.owner)
    return config


def _build(site: Site, attempt: Attempt, config: Config) -> None:
    if config.build.run:
        with attempt.phase("build"):
            _run(site, attempt, "build", config.build.run, config.build.timeout)


def _migrate(site: Site, attempt: Attempt, config: Config, lock: DeployLock) -> None:
    if config.release.migrate:
        with attempt.phase("migrate"), lock.migrating() as kept:
            lock.name(why=f"{lock.holder.why} (migrate)")
            _run(site, attempt, "migration", config.release.migrate, config.release.timeout, (kept,))
            lock.name(why=lock.holder.why.removesuffix(" (migrate)"))


def _run(
    site: Site, attempt: Attempt, what: str, command: Command, timeout: float, pass_fds: Sequence[int] = ()
) -> None:
    release, owner = attempt.release, site.owner
    run(what, command, store=site.store, release=release, timeout=timeout, owner=owner, pass_fds=pass_fds)


def _prune(site: Site, attempt: Attempt, config: Config) -> None:
    try:
        with attempt.phase("prune"):
            remove_old(site.store, site.ledger, site.manager, config.release.keep)
    except Exception as error:  # the deploy itself succeeded, whatever it is
        site.observer.warning(str(error))


def _revision(site: Site, release: str) -> str:
    return next((entry.revision for entry in site.ledger.entries() if entry.to == release), release)
