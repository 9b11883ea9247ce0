"""What a deploy and a rollback do, in the order in which they do it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.release import confirming, making, migrating, operators, recovery, sources, unconfirmed
from gapless.release.assets import Assets
from gapless.release.attempt import Attempt, Target
from gapless.release.commands import OwnJobs
from gapless.release.ledger import MIGRATION, SWITCH, TURN_BACK, Finished, Outcome, Phase
from gapless.release.lock import DeployLock, deploy_lock
from gapless.release.migrating import Migration
from gapless.release.news import News
from gapless.release.owner import account
from gapless.release.pointers import some
from gapless.release.prune import remove_old
from gapless.release.room import empty_cache, must_have_room
from gapless.release.takeover import settle_assets, switch_over, watched
from gapless.release.unconfirmed import Unconfirmed
from gapless.release.watch import Watch, end_watch
from gapless.switch import engine
from gapless.switch.job import Jobs

PUBLISH = "publish"  # a phase
MIGRATED = "migrated"  # how a deploy ends that was to switch nothing over
LOOK_BESIDE = 1.5  # seconds after the commit in which a process that cannot start has shown it
TURN_BACK_WAIT = 120.0  # seconds that a rollback waits for another command to turn back


@dataclass(frozen=True)
class Result:
    """What was done; `report` may be empty.

    `outcome` is SWITCHED, MIGRATED, or ALREADY_LIVE when nothing had to be done. By `confirm_by` (Unix time) it
    is to be confirmed; None: it stays.
    """

    release: str
    previous: str | None
    outcome: str
    phases: tuple[Phase, ...] = ()
    report: str = ""
    confirm_by: float | None = None


def deploy(
    target: Target,
    project: Path,
    source: str | sources.Source | None = None,
    watch: Watch | None = None,
    migration: Migration = Migration.WITH,
) -> Result:
    """Make a new release of `source` (see `making.find`) the current one; keep it if its `watch` finds it fit.

    One that waits since its migration (Migration.ONLY) is not made again. Raises GaplessError; unless the commit
    happened, what served before goes on serving (invariant 3), and after a watch that found it unfit it serves again.
    """
    if target.home.builder:
        account(target.home.builder)  # before anything is made of which it is to be the owner
    if not target.home.root.exists():
        target.manager.instances()  # who cannot be asked is not to leave anything behind
    only = migration is Migration.ONLY
    with locked(target, "deploy") as lock:
        found = making.find(target, project, source)
        waits = migrating.prepared(target, project, found)
        release = waits or target.store.new_name(target.clock.now(), found.short)
        lock.name(release=release)
        must_have_room(target)
        jobs = target.jobs or OwnJobs(target.store, lock, target.inherited())
        current, verb = target.manager.current(), MIGRATION if only else "deploy"
        with (
            _clearing_up(target, release),
            News(target, jobs) as news,
            Attempt(target, verb, release, current, found.revision, lock.holder.who) as attempt,
        ):
            news.attempt = None if only else attempt
            config = _again(target, release) if waits else _make(target, attempt, project, found, jobs)
            if only:
                migrating.migrate(target, attempt, config, lock, jobs)
            else:
                news.before()
                with watched(target, attempt, watch) as on:
                    if migration is Migration.WITH:
                        migrating.migrate(target, attempt, config, lock, jobs, on.monitor if on else None)
                    making.warn_of_data(target, attempt.previous)
                    _publish(target, attempt, config)
                    switch_over(target, attempt, config, lock, on)
                if attempt.confirm is not None:
                    news.attempt = None  # it is told once that is decided
        committed = target.clock.monotonic()
        _prune(target, attempt, config)
        if only:
            return Result(release, current, MIGRATED, tuple(attempt.phases))
        _look_beside(target, config, committed + LOOK_BESIDE)
        return _switched(target, attempt)


def _make(target: Target, attempt: Attempt, project: Path, found: sources.Source, jobs: Jobs) -> Config:
    with attempt.phase("install"):
        config = making.install(target, project, found, attempt.release)
    making.build(target, attempt, config, jobs)
    making.finish(target, attempt, jobs)
    return config


def _again(target: Target, release: str) -> Config:
    """What a release that was made before is to find as if it were made now."""
    config, current = target.home.config(release), target.manager.current()
    if target.operator:
        operators.refuse_other_rights(config, target.home.config(current) if current else None)
    making.make_shared(target.home, config)
    return config


def rollback(target: Target, to: str | None = None, watch: Watch | None = None) -> Result:
    """Make an older release the current one again: `to`, or the newest good one before the current.

    A release that another command watches is turned back by that command, at once.
    Raises GaplessError, as `deploy`. Nothing is migrated back: releases must live with their neighbours' data.
    """
    try:
        return _roll_back(target, to, watch)
    except GaplessError as error:
        if to and confirming.decided(target, to, error):
            return Result(to, to, engine.Outcome.ALREADY_LIVE)
        raise


def _roll_back(target: Target, to: str | None, watch: Watch | None) -> Result:
    on_trial = recovery.current(target)
    waits = _waiting(target, on_trial) if to != on_trial else None
    asked = to != on_trial and end_watch(target)
    if asked or waits:
        to = to or pick(target, on_trial, None)
        target = replace(target, lock_wait=max(target.lock_wait, TURN_BACK_WAIT))
    with locked(target, "rollback", decides=bool(waits)) as lock:
        current = target.manager.current()
        release = pick(target, current, to)
        if release == current:
            if asked or waits:  # the other command did it, or it was done just now
                return Result(release, on_trial, engine.Outcome.SWITCHED)
            return Result(release, current, engine.Outcome.ALREADY_LIVE)
        config = target.home.config(release)
        if target.operator:
            operators.refuse_other_rights(config, target.home.config(current) if current else None)
        lock.name(release=release)
        jobs = target.jobs or OwnJobs(target.store, lock, target.inherited())
        with (
            News(target, jobs) as news,
            Attempt(target, "rollback", release, current, _revision(target, release), lock.holder.who) as attempt,
        ):
            news.attempt = attempt
            try:
                making.make_shared(target.home, config)  # somebody may have removed some
                _publish(target, attempt, config)
            except GaplessError as error:  # most of them are there, and what is worse than this made somebody go back
                target.observer.warning(str(error))
            with watched(target, attempt, watch) as on:
                switch_over(target, attempt, config, lock, on)
            if attempt.confirm is not None:
                news.attempt = None
        return _switched(target, attempt)


def prune(target: Target, keep: int) -> list[str]:
    """Remove every release but the newest `keep` good ones and those in use; returns what went."""
    with locked(target, "prune"):
        gone = remove_old(target, keep)
        try:
            _mend_beside(target)
        except GaplessError as error:  # what it was called for is done
            target.observer.warning(str(error))
        return gone


def pick(target: Target, current: str | None, to: str | None) -> str:
    """The release a rollback would go to. Raises GaplessError when there is none, or `to` is not fit for it."""
    present = target.store.names()
    if to is None:
        waits = _waiting(target, current)
        return waits.previous if waits else target.ledger.rollback_target(current, present)
    if to not in present:
        there = ", ".join(present) or "none"
        raise GaplessError("roll back to", to, "there is no such release", f"there are: {there}", status=2)
    if to != current and target.ledger.bad(to):
        cause = "its deploy failed, was turned back, or was killed before it served, or it was only migrated to"
        raise GaplessError("roll back to", to, cause, "pick another one; `gapless releases` lists them")
    return to


def _waiting(target: Target, current: str | None) -> Unconfirmed | None:
    """The `current` release as one that waits to be confirmed, if it does."""
    found = unconfirmed.read(target.home.root)
    return found if found and found.release == current else None


def _switched(target: Target, attempt: Attempt) -> Result:
    """How it ended; the time in which it is to be confirmed begins now, as all else is done."""
    until = None if attempt.confirm is None else confirming.wait(target, attempt.confirm)
    done, phases = engine.Outcome.SWITCHED, tuple(attempt.phases)
    return Result(attempt.release, attempt.previous, done, phases, attempt.report, until)


@contextmanager
def locked(target: Target, verb: str, *, decides: bool = False, deploys: bool = True) -> Iterator[DeployLock]:
    """The lock, and everything that a killed command left behind repaired (invariant 5).

    A release that nobody confirmed in time is turned back from; one that may still be is not to be decided about by the
    way, unless the caller `decides`: then that is turned back from, too. What only does that, and `deploys` nothing, is
    not kept from it by anybody's hold.
    """
    busy = target.jobs.under_way if target.jobs else None
    with deploy_lock(
        target.home.root,
        why=verb,
        wait=target.lock_wait,
        clock=target.clock,
        busy=busy,
        lease=target.lease,
        deploys=deploys,
        lets=lambda record: decides or not unconfirmed.lasts(record, target.clock),
    ) as lock:
        try:
            target.store.clean()
        except GaplessError as error:
            target.observer.warning(str(error))
        recovery.restore(target)
        current = target.manager.current()
        try:
            _record_killed(target, current)
            recovery.restore_ledger(target)
        except GaplessError as error:  # the disk is full: a prune must be possible all the same
            target.observer.warning(str(error))
        confirming.settle(target, lock, asked=decides)
        engine.repair(target.manager)
        yield lock


def _record_killed(target: Target, current: str | None) -> None:
    """Finish what killed deployers began, and record how it ended. Raises GaplessError."""
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
        settle_assets(target)


def _finish_commit(target: Target, current: str) -> None:
    """Again what follows a commit: its deployer may have died before all of it was done."""
    try:
        target.manager.point(current)
    except (GaplessError, OSError) as error:  # the disk is full: a prune must be possible all the same
        target.observer.warning(f"cannot finish the commit of {current}: {error}")


def _publish(target: Target, attempt: Attempt, config: Config) -> None:
    """Let the public files be there before the first page that refers to them."""
    if config.assets.paths:
        assets, paths = Assets(target.home, target.clock), config.assets.paths
        with attempt.phase(PUBLISH):
            if attempt.previous:
                with contextlib.suppress(GaplessError):  # it has links there, or is gone: its pages do as until now
                    assets.adopt(attempt.previous, paths)
            links = assets.publish(attempt.release, paths, attempt.previous)
        if links := [one for one in links if one not in config.shared]:
            target.observer.warning(f"{some(links)} in {attempt.release}: links are not published ([assets])")


def _mend_beside(target: Target) -> None:
    """Put back what of the current release's somebody removed beside it, and let old public files go."""
    if current := target.manager.current():
        config = target.home.config(current)
        making.make_shared(target.home, config)
        if paths := config.assets.paths:
            Assets(target.home, target.clock).publish(current, paths, current)
        _expire(target, config)


def _expire(target: Target, config: Config) -> None:
    assets, current = Assets(target.home, target.clock), target.manager.current()
    assets.expire(target.store.names(), current, config.assets.age)


def _look_beside(target: Target, config: Config, until: float) -> None:
    """Warn of processes and timers that are not as they should be; those of the new release had a moment to fail."""
    while config.processes and target.clock.monotonic() < until:
        target.clock.sleep(0.1)
    try:
        for one in target.manager.companions():
            if one.trouble:
                target.observer.warning(
                    f"the {one.kind} {one.name} of {one.release} {one.trouble}: see `journalctl -u {one.unit}`"
                )
    except GaplessError as error:  # the deploy itself succeeded
        target.observer.warning(str(error))


@contextmanager
def _clearing_up(target: Target, release: str) -> Iterator[None]:
    """Inside the block, an error removes releases as a success would; the failed one stays to be looked at."""
    try:
        yield
    except Exception:
        try:
            keep = target.home.config(release).release.keep
            remove_old(target, keep, but=release)
        except (GaplessError, OSError) as error:
            target.observer.warning(str(error))
        raise


def _prune(target: Target, attempt: Attempt, config: Config) -> None:
    try:
        with attempt.phase("prune"):
            remove_old(target, config.release.keep, but=attempt.release)
            _expire(target, config)
            if config.build.run and (freed := empty_cache(target.home)):
                target.observer.warning(f"the cache of builds had {freed >> 20} MiB, and was emptied")
    except Exception as error:  # the deploy itself succeeded, whatever it is
        target.observer.warning(str(error))


def _revision(target: Target, release: str) -> str:
    return next((entry.revision for entry in target.ledger.entries() if entry.to == release), release)
