"""A new release on trial: for how long after its commit it is watched, by whom, and what turns it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gapless.config import Check
from gapless.errors import GaplessError
from gapless.linux.unix_http import STATUS_PATH, get
from gapless.release.attempt import Attempt, Site
from gapless.release.disk import refusal
from gapless.release.lock import DeployLock, holder, me
from gapless.switch.manager import Instance, Role

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

BASELINE, WATCH = "baseline", "watch"  # phases
LOOK_EVERY = 0.1  # seconds
CHECK_EVERY = 1.0  # seconds from one answer to the next question
CHECK_TIMEOUT = 5.0  # seconds: one that takes longer has failed
FAILURES = 2  # in a row: one alone may be the check's own
MARK = " (watch)"  # what the lock's holder says while the release is on trial


class Guard(Protocol):
    """Looks at the app from outside through the whole switchover; `promise` says what it turns a release back for."""

    promise: str

    def begin(self) -> None:
        """Start to look; returns when it has seen enough of what is usual. Raises GaplessError."""

    def enter(self, phase: str) -> None:
        """What happens from now on belongs to `phase`."""

    def verdict(self) -> str:
        """What is wrong, in words, with its time and phase; empty while all is well."""

    def stop(self) -> str:
        """Stop to look; the last verdict. Again is no error."""

    def write(self, report: Path) -> None:
        """After `stop`: put what was seen at the path. Raises GaplessError."""


@dataclass(frozen=True)
class Trial:
    """How a release is tried once it is committed: for `seconds`, and by `guard` from before the switchover on."""

    seconds: float
    guard: Guard | None = None


class TurnBackError(GaplessError):
    """The release on trial is not to stay."""


@contextmanager
def guarded(site: Site, attempt: Attempt, guard: Guard | None) -> Iterator[None]:
    """Let the guard look, from a while before to the end; its page is kept, and named in the ledger."""
    if guard is None:
        yield
        return
    try:
        with attempt.phase(BASELINE):
            guard.begin()
            must_be_well(guard, attempt.release, "nothing was touched")
        yield
    finally:
        guard.stop()
        report = site.store.report(attempt.release)
        try:
            report.parent.mkdir(parents=True, exist_ok=True)
            guard.write(report)
            attempt.report = str(report)
        except OSError as error:
            site.observer.warning(str(refusal("write", str(report), error)))
        except GaplessError as error:
            site.observer.warning(str(error))


def must_be_well(guard: Guard, release: str, consequence: str) -> None:
    """Raise GaplessError when the guard saw something wrong before the commit."""
    if cause := guard.verdict():
        hint = "if the app is broken already, and this release mends it, deploy it without --prove"
        raise GaplessError("prove", release, f"{cause}; {consequence}", hint)


def observe(site: Site, trial: Trial, proven: Instance, check: Check, lock: DeployLock) -> None:
    """Watch for the trial's time. Raises TurnBackError when the release is not to stay, and what the manager raises."""
    from concurrent.futures import ThreadPoolExecutor  # only a trial pays for it

    request = site.home / "turn-back"
    request.unlink(missing_ok=True)  # before anybody is told that it may be written
    lock.name(why=lock.holder.why + MARK)
    ends = site.clock.monotonic() + trial.seconds
    pool = ThreadPoolExecutor(1)  # a check that hangs must not keep us from looking
    checks = _Checks(pool, site, proven, check)
    try:
        while True:
            cause = (
                (f"{request.read_text() or 'somebody'} asked for it" if request.exists() else "")
                or (trial.guard.verdict() if trial.guard else "")
                or _process(site, proven)
                or checks.verdict()
            )
            left = ends - site.clock.monotonic()
            if left <= 0 and not cause and trial.guard:
                cause = trial.guard.stop()  # of the requests that were under way
            if cause:
                raise TurnBackError("keep", proven.release, cause)
            if left <= 0:
                return
            site.clock.sleep(min(LOOK_EVERY, left))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        lock.name(why=lock.holder.why.removesuffix(MARK))


def end_watch(site: Site) -> bool:
    """Ask whoever has a release on trial to turn back at once; False when nobody has. Raises GaplessError."""
    held = holder(site.home)
    if held is None or not held.why.endswith(MARK):
        return False
    fresh = site.home / "turn-back.new"
    try:
        fresh.write_text(me())
        fresh.rename(site.home / "turn-back")
    except OSError as error:
        raise refusal("write", str(fresh), error) from error
    return True


def _process(site: Site, proven: Instance) -> str:
    live = [one for one in site.manager.instances() if one.role is Role.LIVE]
    if not live:
        return f"its process {proven.pid} is gone"
    if all(one.pid != proven.pid for one in live):
        return f"its process {proven.pid} was replaced by {live[-1].pid}: it restarted"
    return ""


class _Checks:
    """Asks the instance itself, again and again; only a server that has its private socket is asked."""

    def __init__(self, pool: ThreadPoolExecutor, site: Site, proven: Instance, check: Check) -> None:
        self._pool = pool
        self._clock = site.clock
        self._question = (proven.private, check.path or STATUS_PATH, check.host)
        self._asks = Path(proven.private).is_socket()
        self._due = site.clock.monotonic()
        self._asked: Future[str] | None = None
        self._failures = 0

    def verdict(self) -> str:
        if self._asked is None:
            if self._asks and self._clock.monotonic() >= self._due:
                self._asked = self._pool.submit(_ask, *self._question)
        elif self._asked.done():
            problem = self._asked.result()
            self._asked, self._due = None, self._clock.monotonic() + CHECK_EVERY
            self._failures = self._failures + 1 if problem else 0
            if self._failures >= FAILURES:
                return f"its check {self._question[1]} failed {FAILURES} times in a row: {problem}"
        return ""


def _ask(private: str, target: str, host: str) -> str:
    try:
        status, _, _ = get(private, target, host, CHECK_TIMEOUT)
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT:g} s"
    except OSError as error:
        return str(error) or type(error).__name__
    return "" if 200 <= status < 300 else f"status {status}"
