"""How a release that waits to be confirmed is decided about: confirmed, or turned back by whoever comes first."""

from __future__ import annotations

from dataclasses import dataclass

from gapless.errors import GaplessError
from gapless.release import recovery, unconfirmed
from gapless.release.attempt import Attempt, Target
from gapless.release.commands import OwnJobs
from gapless.release.hold import BUSY
from gapless.release.holding import moment
from gapless.release.ledger import TURN_BACK, Deploy, Finished, Outcome, Phase
from gapless.release.lock import DeployLock, deploy_lock
from gapless.release.news import News
from gapless.release.takeover import turn_back
from gapless.release.unconfirmed import Unconfirmed
from gapless.switch import engine

CONFIRM = "confirm"  # a phase
PATIENCE = 10.0  # seconds that a confirmation waits for the lock, which others then have for a moment


@dataclass(frozen=True)
class Confirmed:
    """What became of `release`: `until` is when it must be confirmed again, None is never."""

    release: str
    changed: bool
    until: float | None = None


def wait(target: Target, seconds: float) -> float | None:
    """Have the release wait to be confirmed for so long from now on; until when, in Unix time. Raises GaplessError."""
    record = unconfirmed.read(target.home.root)
    if record is None:
        return None
    record = record.lasting(seconds, target.clock)
    unconfirmed.write(target, record)
    return record.until


def confirm(target: Target, release: str | None = None, stand_by: float | None = None) -> Confirmed:
    """Keep the release that waits to be confirmed, by name or whichever it is; the previous one retires.

    With `stand_by` that one goes on standing by, and the other waits for so many seconds more. Raises GaplessError when
    that release was turned back.
    """
    try:
        return _confirm(target, release, stand_by)
    except GaplessError as error:
        if decided(target, release, error):
            return Confirmed(str(release), False)
        raise


def decided(target: Target, release: str | None, refused: GaplessError) -> bool:
    """Whether a command in a lease was `refused` what is done already: `release` serves for good.

    Whoever heard no answer asks again, and the lease may have ended with the first command.
    """
    over = bool(target.lease) and refused.status == BUSY
    return over and release == target.manager.current() and not unconfirmed.read(target.home.root)


def _confirm(target: Target, release: str | None, stand_by: float | None) -> Confirmed:
    with deploy_lock(
        target.home.root,
        why="confirm",
        wait=max(target.lock_wait, PATIENCE),
        clock=target.clock,
        lease=target.lease,
        lets=lambda _record: True,
    ) as lock:
        recovery.restore(target)
        record, current = unconfirmed.read(target.home.root), target.manager.current()
        if record and record.release != current:  # a killed command left it
            settle(target, lock)
            record = None
        if record is None or release not in (None, record.release):
            return _decided(target, release, current, record)
        lock.name(release=record.release)
        if stand_by is not None:
            return Confirmed(record.release, True, wait(target, stand_by))
        with (
            News(target, target.jobs or OwnJobs(target.store, lock, target.inherited())) as news,
            _attempt(target, record) as attempt,
        ):
            news.attempt = attempt
            attempt.committed = True
            with attempt.phase(CONFIRM):
                unconfirmed.forget(target)  # from here on it stays, whoever is killed
                engine.repair(target.manager)
    return Confirmed(record.release, True)


def settle(target: Target, lock: DeployLock, *, asked: bool = False) -> None:
    """Turn back from a release that was not confirmed in time, or at once if that is `asked` for.

    Only under the deploy lock. What a killed one began is finished. Raises GaplessError.
    """
    record = unconfirmed.read(target.home.root)
    if record is None or (unconfirmed.lasts(record, target.clock) and not asked):
        return
    current = target.manager.current()
    if current != record.release:  # it was killed before its commit, or whoever turned it back after that
        if current == record.previous and (entry := _entry(target, record)) and entry.switched:
            now = target.clock.now()
            target.ledger.append(Phase(entry.id, TURN_BACK, now, 0.0, Outcome.SUCCEEDED))
            why = f"{_why(record)}; {current} serves again"
            target.ledger.append(Finished(entry.id, now, Outcome.FAILED, why))
        unconfirmed.forget(target)
        return
    lock.name(release=record.release)
    cause = f"{lock.holder.who} asked for it" if asked else _why(record)
    try:
        with (
            News(target, target.jobs or OwnJobs(target.store, lock, target.inherited())) as news,
            _attempt(target, record) as attempt,
        ):
            news.attempt = attempt
            switchover = engine.Switchover.watching(target.manager, record.release, record.previous)
            turn_back(target, attempt, switchover, cause)
    except GaplessError as error:
        if target.home.unconfirmed.exists() or (asked and target.manager.current() == record.release):
            raise  # nothing is decided yet; or it could not be
        if not asked:
            target.observer.warning(str(error))


def _why(record: Unconfirmed) -> str:
    if record.until is None:
        return "its deploy was cut off, so nobody could confirm it"
    if not record.of_this_boot:
        return "the host was started anew before anybody confirmed it"
    return f"nobody confirmed it until {moment(record.until)}"


def _entry(target: Target, record: Unconfirmed) -> Deploy | None:
    return next((one for one in target.ledger.entries() if one.id == record.attempt), None)


def _attempt(target: Target, record: Unconfirmed) -> Attempt:
    """The attempt that made it wait, to be gone on with; another where the ledger lost that."""
    entry = _entry(target, record)
    return Attempt(target, "deploy", record.release, record.previous, "", record.who, of=entry)


def _decided(target: Target, release: str | None, current: str | None, record: Unconfirmed | None) -> Confirmed:
    """What is to be said when nothing, or another release, waits to be confirmed. Raises GaplessError."""
    hint = "`gapless audit -v` says what became of it"
    if record:
        raise GaplessError("confirm", release or "a release", f"it is {record.release} that waits for it", hint)
    entries = target.ledger.entries()
    if release is None and entries and entries[-1].turned_back:
        release = entries[-1].to
    if current is None or release not in (None, current):
        serves = f"{current} serves" if current else "nothing was deployed yet"
        raise GaplessError("confirm", release or "a release", f"it is not the current release: {serves}", hint)
    return Confirmed(current, False)
