"""The one phase in which a release takes over, and its trial afterwards."""

from __future__ import annotations

import contextlib
import os
from typing import NoReturn

from gapless.config import Config, load
from gapless.errors import GaplessError
from gapless.release.attempt import Attempt, Site
from gapless.release.commands import tail
from gapless.release.ledger import SWITCH, TURN_BACK
from gapless.release.lock import DeployLock
from gapless.release.trial import WATCH, Trial, TurnBackError, guarded, must_be_well, observe
from gapless.switch import engine

BOOT_MARGIN = 5.0  # seconds the engine waits beyond the release's own check
AFTER = 1.0  # seconds that the guard still looks after a release was turned back: did it help?


def switch_over(site: Site, attempt: Attempt, config: Config, lock: DeployLock, trial: Trial | None) -> None:
    """Make the attempt's release the current one, on `trial` if there is one. Raises GaplessError.

    Before the commit nothing that serves is touched; a release that does not stand its trial is turned back.
    """
    if trial and attempt.previous is None:
        site.observer.warning("there is no release to turn back to, so this first one is not put on trial")
        trial = None
    guard = trial.guard if trial else None

    def moved(state: engine.Step) -> None:
        if guard:
            guard.enter(state)
            if state is engine.Step.PROVEN:
                must_be_well(guard, attempt.release, f"{attempt.previous} goes on serving")

    timeout = config.check.timeout + BOOT_MARGIN
    switchover = engine.Switchover(site.manager, attempt.release, timeout, moved, keep=trial is not None)
    with guarded(site, attempt, guard):
        _commit(site, attempt, switchover)
        if trial and switchover.state is engine.Step.WATCHING:
            _try(site, attempt, switchover, config, lock, trial)


def _commit(site: Site, attempt: Attempt, switchover: engine.Switchover) -> None:
    interrupt: BaseException | None = None
    with attempt.phase(SWITCH):
        # The release is on disk before the commit names it. One call for the whole tree: an fsync for each file
        # takes a minute for a large one, and every journal commit holds up what the live release writes.
        os.sync()
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


def _try(
    site: Site, attempt: Attempt, switchover: engine.Switchover, config: Config, lock: DeployLock, trial: Trial
) -> None:
    proven = switchover.instance
    assert proven is not None  # noqa: S101 -- for mypy: it is WATCHING
    try:
        with attempt.phase(WATCH):
            observe(site, trial, proven, config.check, lock)
        switchover.settle()
    except TurnBackError as unfit:
        _turn_back(site, attempt, switchover, trial, unfit.cause)
    except BaseException as error:
        said = "" if isinstance(error, KeyboardInterrupt) else f": {error!r}"
        site.observer.warning(f"{attempt.release} is live and stays so, but its watch was cut short{said}")
        with contextlib.suppress(GaplessError):  # the manager cannot be reached: the next command repairs
            engine.repair(site.manager)
        if not isinstance(error, Exception):
            raise


def _turn_back(site: Site, attempt: Attempt, switchover: engine.Switchover, trial: Trial, cause: str) -> NoReturn:
    details, hint = tail(site.store.log(attempt.release)), f"all its output: `gapless logs {attempt.release}`"
    if trial.guard:
        trial.guard.enter(TURN_BACK)
        hint += f"; the proof: {site.store.report(attempt.release)}"
    with attempt.phase(TURN_BACK):
        previous = attempt.previous or ""
        timeout = load(site.store.path(previous)).check.timeout + BOOT_MARGIN
        if not switchover.turn_back(timeout):
            cause += f"; {previous} could not serve again ({switchover.cause}), so {attempt.release} goes on serving"
            raise GaplessError("turn back from", attempt.release, cause, hint, details=details)
    if trial.guard:
        site.clock.sleep(AFTER)
    raise GaplessError("keep", attempt.release, f"{cause}; {previous} serves again", hint, details=details)


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
    if switchover.state in (
        engine.Step.COMMITTED,
        engine.Step.WATCHING,
        engine.Step.DONE,
    ):
        return True
    try:
        return site.manager.current() == switchover.release
    except GaplessError:
        return False
