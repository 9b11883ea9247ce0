"""The one phase in which a release takes over, and its watch afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NoReturn

from gapless import timeouts
from gapless.config.settings import Config
from gapless.errors import GaplessError, in_words
from gapless.linux.files import tail
from gapless.release import unconfirmed
from gapless.release.assets import Assets
from gapless.release.attempt import Attempt, Target
from gapless.release.ledger import SWITCH, TURN_BACK
from gapless.release.lock import DeployLock
from gapless.release.unconfirmed import Unconfirmed
from gapless.release.watch import WATCH, Monitor, TurnBackError, Watch, monitored, must_be_well, observe
from gapless.switch import engine
from gapless.switch.job import of_sealed
from gapless.switch.symptoms import of_sandbox

SWITCHING = {engine.Step.STARTING, engine.Step.PROVEN, engine.Step.COMMITTED}  # from its boot on
AFTER = 1.0  # seconds that the monitor still looks after a release was turned back: did it help?


@contextlib.contextmanager
def watched(target: Target, attempt: Attempt, watch: Watch | None) -> Iterator[Watch | None]:
    """Have the watch's monitor look on inside, from before anything that visitors may feel; yields the watch.

    None of a first release, which there is nothing to turn back from. Raises GaplessError.
    """
    if watch and attempt.previous is None:
        target.observer.warning("there is no release to turn back to, so this first one is not watched")
        watch = None
    if watch and attempt.previous:
        target.home.config(attempt.previous)  # now: what cannot be read could not be turned back to
    with monitored(target, attempt, watch.monitor if watch else None):
        yield watch


def switch_over(target: Target, attempt: Attempt, config: Config, lock: DeployLock, watch: Watch | None) -> None:
    """Make the attempt's release the current one, and go on to `watch` it if it is `watched`. Raises GaplessError.

    Before the commit nothing that serves is touched; a release that its watch finds unfit is turned back.
    """
    monitor = watch.monitor if watch else None

    def moved(state: engine.Step) -> None:
        if monitor:
            monitor.enter(state, switches=state in SWITCHING)
            if state is engine.Step.PROVEN:
                must_be_well(monitor, attempt.release, f"{attempt.previous} goes on serving")

    timeout = config.check.timeout + timeouts.DEPLOYER
    switchover = engine.Switchover(
        target.manager, attempt.release, timeout, moved, keep=watch is not None, known=attempt.previous
    )
    if watch and watch.confirm is not None and attempt.previous:
        who, since = attempt.who, target.clock.now()
        record = Unconfirmed(
            release=attempt.release, previous=attempt.previous, attempt=attempt.id, who=who, since=since
        )
    else:
        record = None
    try:
        if record:  # before the commit: whoever is killed right after it confirms nothing
            unconfirmed.write(target, record)
        _commit(target, attempt, switchover)
    except BaseException:
        if record and not attempt.committed:
            unconfirmed.forget(target)
        raise
    if watch and switchover.state is engine.Step.WATCHING:
        _try(target, attempt, switchover, config, lock, watch)


def _commit(target: Target, attempt: Attempt, switchover: engine.Switchover) -> None:
    interrupt: BaseException | None = None
    with attempt.phase(SWITCH):
        # The release is on disk before the commit names it. One call for the whole tree: an fsync for each file
        # takes a minute for a large one, and every journal commit holds up what the live release writes.
        os.sync()
        try:
            attempt.committed = switchover.run() is engine.Outcome.SWITCHED
        except BaseException as error:
            attempt.committed = _committed(target, switchover)
            if not attempt.committed:
                raise
            target.observer.warning(f"{attempt.release} is the current release, but then: {in_words(error)}")
            interrupt = None if isinstance(error, Exception) else error
        if not attempt.committed:
            raise _not_switched(target, attempt, switchover)
    settle_assets(target)
    if interrupt is not None:  # raised here: the switchover itself was complete, and is recorded so
        raise interrupt


def _try(
    target: Target, attempt: Attempt, switchover: engine.Switchover, config: Config, lock: DeployLock, watch: Watch
) -> None:
    proven = switchover.instance
    assert proven is not None  # noqa: S101 -- for mypy: it is WATCHING
    try:
        if watch.seconds or watch.monitor:
            with attempt.phase(WATCH):
                observe(target, watch, proven, config.check, lock)
        if watch.confirm is None:
            switchover.settle()
        attempt.confirm = watch.confirm
    except TurnBackError as unfit:
        turn_back(target, attempt, switchover, unfit.cause, watch.monitor)
    except BaseException as error:
        said = "" if isinstance(error, KeyboardInterrupt) else f": {in_words(error)}"
        if watch.confirm is not None:
            target.observer.warning(f"nobody can confirm {attempt.release} now, so it does not stay{said}")
            raise
        target.observer.warning(f"{attempt.release} is live and stays so, but its watch was cut short{said}")
        with contextlib.suppress(GaplessError):  # the manager cannot be reached: the next command repairs
            engine.repair(target.manager)
        if not isinstance(error, Exception):
            raise


def turn_back(
    target: Target, attempt: Attempt, switchover: engine.Switchover, cause: str, monitor: Monitor | None = None
) -> NoReturn:
    """Make the previous release the current one again, from WATCHING; nothing waits to be confirmed then.

    Raises GaplessError, which says why, and what serves.
    """
    details, hint = tail(target.store.log(attempt.release)), f"all its output: `gapless logs {attempt.release}`"
    if monitor:
        monitor.enter(TURN_BACK, switches=True)
        hint += f"; the proof: {target.store.report(attempt.release)}"
    with attempt.phase(TURN_BACK):
        previous = attempt.previous or ""
        timeout = target.home.config(previous).check.timeout + timeouts.DEPLOYER
        turned = switchover.turn_back(timeout)
        unconfirmed.forget(target)
        if not turned:
            cause += f"; {previous} could not serve again ({switchover.cause}), so {attempt.release} goes on serving"
            raise GaplessError("turn back from", attempt.release, cause, hint, details=details)
    settle_assets(target)
    if monitor:
        target.clock.sleep(AFTER)
    raise GaplessError("keep", attempt.release, f"{cause}; {previous} serves again", hint, details=details)


def settle_assets(target: Target) -> None:
    """Let files of one name be those of the release that serves now; what goes wrong does not change that it serves."""
    try:
        Assets(target.home, target.clock).settle(target.manager.current())
    except GaplessError as error:
        target.observer.warning(str(error))


def _not_switched(target: Target, attempt: Attempt, switchover: engine.Switchover) -> GaplessError:
    log = target.store.log(attempt.release)
    serving = f"{attempt.previous} goes on serving" if attempt.previous else "no release serves"
    cause = f"{switchover.cause}; {serving}"
    last = switchover.log or tail(log)
    refused = of_sealed(last) + of_sandbox(last, target.home.sandbox(attempt.release))
    hint = switchover.hint or f"{refused}all its output: `gapless logs {attempt.release}`"
    return GaplessError("switch over to", attempt.release, cause, hint, details=last)


def _committed(target: Target, switchover: engine.Switchover) -> bool:
    if switchover.state in (
        engine.Step.COMMITTED,
        engine.Step.WATCHING,
        engine.Step.DONE,
    ):
        return True
    try:
        return target.manager.current() == switchover.release
    except GaplessError:
        return False
