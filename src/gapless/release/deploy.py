"""What a deploy and a rollback do, in the order in which they do it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gapless import environment
from gapless.config import FILE, Config, load
from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.files import not_too_deep
from gapless.release import operators, recovery, sources
from gapless.release.attempt import Attempt, Target
from gapless.release.commands import OwnJobs, shell
from gapless.release.compilation import compilation, compile_here
from gapless.release.ledger import SWITCH, TURN_BACK, Finished, Outcome, Phase
from gapless.release.lock import DeployLock, deploy_lock
from gapless.release.owner import account, give
from gapless.release.prune import remove_old
from gapless.release.seal import seal, written_since
from gapless.release.stamps import settle
from gapless.release.takeover import switch_over
from gapless.release.watch import Watch, end_watch
from gapless.switch import engine
from gapless.switch.job import Jobs, Kind

NAMED = 3  # files that a warning names
MIGRATE = "migrate"  # a phase
COMPILE_WITHIN = 300.0  # seconds
TURN_BACK_WAIT = 120.0  # seconds that a rollback waits for another command to turn back


@dataclass(frozen=True)
class Result:
    """What was done: `outcome` is SWITCHED, or ALREADY_LIVE when nothing had to be done; `report` may be empty."""

    release: str
    previous: str | None
    outcome: engine.Outcome
    phases: tuple[Phase, ...] = ()
    report: str = ""


def deploy(target: Target, project: Path, source: str | None = None, watch: Watch | None = None) -> Result:
    """Make a new release of `source` (see `sources.find`) the current one; keep it if its `watch` finds it fit.

    Raises GaplessError; unless the commit happened, what served before goes on serving (invariant 3), and after
    a watch that found it unfit it serves again.
    """
    if target.home.builder:
        account(target.home.builder)  # before anything is made of which it is to be the owner
    with _locked(target, "deploy") as lock:
        if target.operator:
            found = operators.find_as(target.operator, project, source)
        else:
            with not_too_deep("read", str(project)):
                found = sources.find(project, source)
        release = target.store.new_name(target.clock.now(), found.short)
        lock.name(release=release)
        with Attempt(target, "deploy", release, target.manager.current(), found.revision) as attempt:
            with attempt.phase("install"):
                config = _install(target, project, found, release)
            jobs = target.jobs or OwnJobs(target.store, lock)
            _build(target, attempt, config, jobs)
            _seal(target, attempt, jobs)
            _migrate(attempt, config, lock, jobs)
            _warn_of_data(target, attempt.previous)
            switch_over(target, attempt, config, lock, watch)
        _prune(target, attempt, config)
    return Result(release, attempt.previous, engine.Outcome.SWITCHED, tuple(attempt.phases), attempt.report)


def rollback(target: Target, to: str | None = None, watch: Watch | None = None) -> Result:
    """Make an older release the current one again: `to`, or the newest good one before the current.

    A release that another command watches is turned back by that command, at once.
    Raises GaplessError, as `deploy`. Nothing is migrated back: releases must live with their neighbours' data.
    """
    on_trial = recovery.current(target)
    asked = to != on_trial and end_watch(target)
    if asked:
        to = to or pick(target, on_trial, None)
        target = replace(target, lock_wait=max(target.lock_wait, TURN_BACK_WAIT))
    with _locked(target, "rollback") as lock:
        current = target.manager.current()
        release = pick(target, current, to)
        if release == current:
            if asked:  # the other command did it
                return Result(release, on_trial, engine.Outcome.SWITCHED)
            return Result(release, current, engine.Outcome.ALREADY_LIVE)
        config = target.home.config(release)
        if target.operator:
            operators.refuse_other_rights(config, target.home.config(current) if current else None)
        lock.name(release=release)
        with Attempt(target, "rollback", release, current, _revision(target, release)) as attempt:
            switch_over(target, attempt, config, lock, watch)
    return Result(release, current, engine.Outcome.SWITCHED, tuple(attempt.phases), attempt.report)


def prune(target: Target, keep: int) -> list[str]:
    """Remove every release but the newest `keep` good ones and those in use; returns what went."""
    with _locked(target, "prune"):
        return remove_old(target.store, target.ledger, target.manager, keep)


def pick(target: Target, current: str | None, to: str | None) -> str:
    """The release a rollback would go to. Raises GaplessError when there is none, or `to` is not fit for it."""
    present = target.store.names()
    if to is None:
        return target.ledger.rollback_target(current, present)
    if to not in present:
        there = ", ".join(present) or "none"
        raise GaplessError("roll back to", to, "there is no such release", f"there are: {there}", status=2)
    if to != current and target.ledger.bad(to):
        cause = "its deploy failed, was turned back, or was killed before it served"
        raise GaplessError("roll back to", to, cause, "pick another one; `gapless releases` lists them")
    return to


@contextmanager
def _locked(target: Target, verb: str) -> Iterator[DeployLock]:
    """The lock, and everything that a killed command left behind repaired (invariant 5)."""
    busy = target.jobs.under_way if target.jobs else None
    with deploy_lock(target.home.root, why=verb, wait=target.lock_wait, clock=target.clock, busy=busy) as lock:
        try:
            target.store.clean()
        except GaplessError as error:
            target.observer.warning(str(error))
        recovery.restore(target)
        current = target.manager.current()
        for killed in target.ledger.unfinished():
            now = target.clock.now()
            if current and killed.to == current:
                _finish_commit(target, current)
            if killed.to == current and killed.from_ != current and not killed.switched:
                # It died between the commit and the record of it.
                target.ledger.append(Phase(killed.id, SWITCH, now, 0.0, Outcome.SUCCEEDED))
            elif killed.switched and current == killed.from_ != killed.to:  # the same, of turning back
                target.ledger.append(Phase(killed.id, TURN_BACK, now, 0.0, Outcome.SUCCEEDED))
            target.ledger.append(Finished(killed.id, now, Outcome.INTERRUPTED, f"the {killed.verb} was killed"))
        engine.repair(target.manager)
        yield lock


def _finish_commit(target: Target, current: str) -> None:
    """Again what follows a commit: its deployer may have died before all of it was done."""
    try:
        target.manager.point(current)
    except (GaplessError, OSError) as error:  # the disk is full: a prune must be possible all the same
        target.observer.warning(f"cannot finish the commit of {current}: {error}")


def _install(target: Target, project: Path, found: sources.Source, release: str) -> Config:
    def fill(tree: Path) -> None:
        found.install(tree)
        config = load(tree)
        sources.leave_out(tree, (config.env_file, *config.secrets.values()))
        _settle(target, tree)

    directory = target.store.add(release, fill)
    environment.take_settings(target.home.root, release)
    config = target.home.config(release)
    if target.operator:
        current = recovery.current(target)
        operators.refuse_other_rights(config, target.home.config(current) if current else None)
    read = operators.reader_of(target.operator) if target.operator else sources.reader_in(project)
    environment.fix(target.home.root, release, config, project, read)
    if target.home.builder:
        directory.chmod(0o700)  # until it is sealed: what a build makes of it is for nobody else
        give(directory, target.home.builder)
    return config


def _build(target: Target, attempt: Attempt, config: Config, jobs: Jobs) -> None:
    if config.build.run:
        with attempt.phase("build"):
            jobs.run(Kind.BUILD, shell(config.build.run), attempt.release, config.build.timeout)
            _settle(target, target.store.path(attempt.release))


def _settle(target: Target, tree: Path) -> None:
    """Let equal files keep the time stamps that they have in the current release: nobody fetches them again."""
    current = target.manager.current()
    settle(tree, target.store.path(current) if current else None, target.clock.now())


def _seal(target: Target, attempt: Attempt, jobs: Jobs) -> None:
    """Let nobody write the release from now on: so what its interpreter would write at each start is written first."""
    with attempt.phase("seal"), not_too_deep("seal", attempt.release):
        tree = target.store.path(attempt.release)
        compiling = compilation(tree)
        if compiling and compiling[0] == sys.executable and not target.jobs:
            compile_here(tree)
        elif compiling:
            try:
                jobs.run(Kind.COMPILE, compiling, attempt.release, COMPILE_WITHIN)
            except GaplessError as error:  # it only starts slower
                target.observer.warning(str(error))
        seal(tree, owned=bool(target.home.builder))
        settings = target.home.settings(attempt.release)
        try:
            own = tree / FILE
            if target.home.builder and own.is_file() and not own.is_symlink():  # a build may have put anything there
                own.chmod(0o600)  # [env] is nobody else's to read, and root has its copy
            settings.touch()  # when that was, for `_warn_of_data`
        except OSError as error:
            raise refusal("seal", str(settings), error) from error


def _warn_of_data(target: Target, current: str | None) -> None:
    """Say what the app keeps beside its code: the next release does not have that."""
    sealed = target.home.settings(current or "")
    if target.home.builder or current is None or not sealed.exists():
        return  # nobody can write there, or nobody knows since when nobody should have
    if found := written_since(target.store.path(current), sealed.stat().st_mtime):
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        target.observer.warning(
            f"{', '.join(found[:NAMED])}{more} in {current} changed since it was built, and the next release does not"
            f" have that: what the app keeps belongs into $GAPLESS_SHARED ({target.home.shared})"
        )


def _migrate(attempt: Attempt, config: Config, lock: DeployLock, jobs: Jobs) -> None:
    if config.release.migrate:
        with attempt.phase(MIGRATE):
            lock.name(phase=MIGRATE)
            jobs.run(Kind.MIGRATION, shell(config.release.migrate), attempt.release, config.release.timeout)
            lock.name(phase="")


def _prune(target: Target, attempt: Attempt, config: Config) -> None:
    try:
        with attempt.phase("prune"):
            remove_old(target.store, target.ledger, target.manager, config.release.keep)
    except Exception as error:  # the deploy itself succeeded, whatever it is
        target.observer.warning(str(error))


def _revision(target: Target, release: str) -> str:
    return next((entry.revision for entry in target.ledger.entries() if entry.to == release), release)
