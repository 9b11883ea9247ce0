"""What a deploy and a rollback do, in the order in which they do it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gapless import environment
from gapless.config import Command, Config, load
from gapless.errors import GaplessError
from gapless.release import sources
from gapless.release.attempt import Attempt, Site
from gapless.release.commands import run, tail
from gapless.release.ledger import SWITCH, Finished, Outcome, Phase
from gapless.release.lock import DeployLock, deploy_lock
from gapless.release.owner import give
from gapless.release.prune import remove_old
from gapless.switch import engine

BOOT_MARGIN = 5.0  # seconds the engine waits beyond the release's own check


@dataclass(frozen=True)
class Result:
    """What was done: `outcome` is SWITCHED, or ALREADY_LIVE when nothing had to be done."""

    release: str
    previous: str | None
    outcome: engine.Outcome
    phases: tuple[Phase, ...] = ()


def deploy(site: Site, project: Path, source: str | None = None) -> Result:
    """Make a new release of `source` (see `sources.find`) the current one.

    Raises GaplessError; unless the commit happened, what served before goes on serving (invariant 3).
    """
    with _locked(site, "deploy", source or f"of {project}") as lock:
        found = sources.find(project, source)
        release = site.store.new_name(site.clock.now(), found.short)
        lock.name(release=release)
        with Attempt(site, "deploy", release, site.manager.current(), found.revision) as attempt:
            with attempt.phase("install"):
                config = _install(site, project, found, release)
            _build(site, attempt, config)
            _migrate(site, attempt, config, lock)
            _switch(site, attempt, config)
        _prune(site, attempt, config)
    return Result(release, attempt.previous, engine.Outcome.SWITCHED, tuple(attempt.phases))


def rollback(site: Site, to: str | None = None) -> Result:
    """Make an older release the current one again: `to`, or the newest good one before the current.

    Raises GaplessError, as `deploy`. Nothing is migrated back: releases must live with their neighbours' data.
    """
    with _locked(site, "rollback", to or "the previous one") as lock:
        current = site.manager.current()
        release = pick(site, current, to)
        if release == current:
            return Result(release, current, engine.Outcome.ALREADY_LIVE)
        config = load(site.store.path(release))
        lock.name(release=release)
        with Attempt(site, "rollback", release, current, _revision(site, release)) as attempt:
            _switch(site, attempt, config)
    return Result(release, current, engine.Outcome.SWITCHED, tuple(attempt.phases))


def prune(site: Site, keep: int) -> list[str]:
    """Remove every release but the newest `keep` good ones and those in use; returns what went."""
    with _locked(site, "prune", ""):
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
        cause = "its deploy failed, or was killed before it served"
        raise GaplessError("roll back to", to, cause, "pick another one; `gapless releases` lists them")
    return to


@contextmanager
def _locked(site: Site, verb: str, release: str) -> Iterator[DeployLock]:
    """The lock, and everything that a killed command left behind repaired (invariant 5)."""
    with deploy_lock(site.home, why=verb, release=release, wait=site.lock_wait, clock=site.clock) as lock:
        try:
            site.store.clean()
        except GaplessError as error:
            site.observer.warning(str(error))
        current = site.manager.current()
        for killed in site.ledger.unfinished():
            now = site.clock.now()
            if killed.to == current and killed.from_ != current and not killed.switched:
                # It died between the commit and the record of it.
                site.ledger.append(Phase(killed.id, SWITCH, now, 0.0, Outcome.SUCCEEDED))
            site.ledger.append(Finished(killed.id, now, Outcome.INTERRUPTED, f"the {killed.verb} was killed"))
        engine.repair(site.manager)
        yield lock


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
        with attempt.phase("migrate"):
            lock.name(why=f"{lock.holder.why} (migrate)")
            # Should we be killed, it still keeps a second migration out.
            kept = (lock.descriptor,)
            _run(site, attempt, "migration", config.release.migrate, config.release.timeout, kept)
            lock.name(why=lock.holder.why.removesuffix(" (migrate)"))


def _run(
    site: Site, attempt: Attempt, what: str, command: Command, timeout: float, pass_fds: Sequence[int] = ()
) -> None:
    release, owner = attempt.release, site.owner
    run(what, command, store=site.store, release=release, timeout=timeout, owner=owner, pass_fds=pass_fds)


def _switch(site: Site, attempt: Attempt, config: Config) -> None:
    interrupt: BaseException | None = None
    with attempt.phase(SWITCH):
        # The release is on disk before the commit names it. One call for the whole tree: an fsync for each file
        # takes a minute for a large one, and every journal commit holds up what the live release writes.
        os.sync()
        switchover = engine.Switchover(site.manager, attempt.release, config.check.timeout + BOOT_MARGIN)
        try:
            attempt.committed = switchover.run() is engine.Outcome.SWITCHED
        except BaseException as error:
            attempt.committed = _committed(site, switchover)
            if not attempt.committed:
                raise
            site.observer.warning(f"{attempt.release} is the current release, but then: {error!r}")
            interrupt = None if isinstance(error, Exception) else error
        if not attempt.committed:
            raise _not_switched(site, attempt, switchover)
    if interrupt is not None:  # raised here: the switchover itself was complete, and is recorded so
        raise interrupt


def _not_switched(site: Site, attempt: Attempt, switchover: engine.Switchover) -> GaplessError:
    log = site.store.log(attempt.release)
    serving = f"{attempt.previous} goes on serving" if attempt.previous else "no release serves"
    cause = f"{switchover.cause}; {serving}"
    return GaplessError(
        "switch over to",
        attempt.release,
        cause,
        f"all its output: `gapless logs {attempt.release}`",
        details=switchover.log or tail(log),
    )


def _committed(site: Site, switchover: engine.Switchover) -> bool:
    if switchover.state in (engine.State.COMMITTED, engine.State.DONE):
        return True
    try:
        return site.manager.current() == switchover.release
    except GaplessError:
        return False


def _prune(site: Site, attempt: Attempt, config: Config) -> None:
    try:
        with attempt.phase("prune"):
            remove_old(site.store, site.ledger, site.manager, config.release.keep)
    except Exception as error:  # the deploy itself succeeded, whatever it is
        site.observer.warning(str(error))


def _revision(site: Site, release: str) -> str:
    return next((entry.revision for entry in site.ledger.entries() if entry.to == release), release)
