"""The watch over a new release: for how long after its commit it goes on, by whom, and what turns the release back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gapless.config.settings import Check
from gapless.errors import GaplessError, in_words
from gapless.linux.disk import refusal
from gapless.linux.unix_http import STATUS_PATH
from gapless.release.attempt import Attempt, Target
from gapless.release.holding import me
from gapless.release.lock import DeployLock, holder
from gapless.switch.manager import Instance, Role
from gapless.visitor import Visitor

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

BASELINE, WATCH = "baseline", "watch"  # phases
LOOK_EVERY = 0.1  # seconds
CHECK_EVERY = 1.0  # seconds from one answer to the next question
CHECK_TIMEOUT = 5.0  # seconds: one that takes longer has failed
FAILURES = 2  # in a row: one alone may be the check's own


class Monitor(Protocol):
    """Looks at the app from outside through the whole switchover; `promise` says what it turns a release back for."""

    promise: str

    def begin(self) -> None:
        """Start to look; returns when it has seen enough of what is usual. Raises GaplessError."""

    def enter(self, phase: str, *, switches: bool = False) -> None:
        """What happens from now on belongs to `phase`; `switches`: a release takes another's place in it."""

    def verdict(self) -> str:
        """What is wrong, in words, with its time and phase; empty while all is well."""

    def advice(self) -> str:
        """What may be wrong with what it asks for, where it was so before anything changed, or with the migration."""

    def stop(self) -> str:
        """Stop to look; the last verdict. Again is no error."""

    def write(self, report: Path, happened: str) -> None:
        """After `stop`: put what was seen at the path, and what `happened`, in a sentence. Raises GaplessError."""


@dataclass(frozen=True)
class Watch:
    """How a release is watched once it is committed: for `seconds`, and by `monitor` from before the switchover on.

    Within `confirm` seconds after that somebody is to confirm it; None: nobody need.
    """

    seconds: float
    monitor: Monitor | None = None
    confirm: float | None = None


class TurnBackError(GaplessError):
    """The release that is watched is not to stay."""


@contextmanager
def monitored(target: Target, attempt: Attempt, monitor: Monitor | None) -> Iterator[None]:
    """Let the monitor look, from a while before to the end; its page is kept, and named in the ledger."""
    if monitor is None:
        yield
        return
    error: BaseException | None = None
    try:
        with attempt.phase(BASELINE):
            monitor.begin()
            must_be_well(monitor, attempt.release, "nothing was touched")
        yield
    except BaseException as caught:
        error = caught
        raise
    finally:
        monitor.stop()
        report = target.store.report(attempt.release)
        try:
            report.parent.mkdir(parents=True, exist_ok=True)
            monitor.write(report, _happened(attempt, error))
            attempt.report = str(report)
        except OSError as trouble:
            target.observer.warning(str(refusal("write", str(report), trouble)))
        except GaplessError as trouble:
            target.observer.warning(str(trouble))


def _happened(attempt: Attempt, error: BaseException | None) -> str:
    """What became of the attempt's release, in a sentence."""
    if isinstance(error, Exception):
        return in_words(error)  # it says what serves, too
    if not attempt.committed:
        return f"{attempt.release} did not take over: {in_words(error)}" if error else ""
    took_over = f"{attempt.release} took over from {attempt.previous}"
    return f"{took_over}; its watch was cut short: {in_words(error)}" if error else took_over


def must_be_well(monitor: Monitor, release: str, consequence: str) -> None:
    """Raise GaplessError when the monitor saw something wrong before the commit."""
    if cause := monitor.verdict():
        hint = "if the app is broken already, and this release mends it, deploy it without --prove"
        if question := monitor.advice():
            hint = f"{question}; {hint}"
        raise GaplessError("prove", release, f"{cause}; {consequence}", hint)


def observe(target: Target, watch: Watch, proven: Instance, check: Check, lock: DeployLock) -> None:
    """Watch for the time asked for. Raises TurnBackError when the release is not to stay, and as the manager does."""
    from concurrent.futures import ThreadPoolExecutor  # only a watch pays for it

    request = target.home.turn_back
    request.unlink(missing_ok=True)  # before anybody is told that it may be written
    lock.name(phase=WATCH)
    ends = target.clock.monotonic() + watch.seconds
    pool = ThreadPoolExecutor(1)  # a check that hangs must not keep us from looking
    checks = _Checks(pool, target, proven, check)
    try:
        while True:
            cause = (
                (f"{request.read_text() or 'somebody'} asked for it" if request.exists() else "")
                or (watch.monitor.verdict() if watch.monitor else "")
                or _process(target, proven)
                or _beside(target, proven.release)
                or checks.verdict()
            )
            left = ends - target.clock.monotonic()
            if left <= 0 and not cause and watch.monitor:
                cause = watch.monitor.stop()  # of the requests that were under way
            if cause:
                raise TurnBackError("keep", proven.release, cause)
            if left <= 0:
                return
            target.clock.sleep(min(LOOK_EVERY, left))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        lock.name(phase="")


def end_watch(target: Target) -> bool:
    """Ask whoever watches a release to turn back at once; False when nobody has. Raises GaplessError."""
    held = holder(target.home.root)
    if held is None or held.phase != WATCH:
        return False
    wish = target.home.turn_back
    fresh = wish.with_suffix(".new")
    try:
        fresh.write_text(me())
        fresh.rename(wish)
    except OSError as error:
        raise refusal("write", str(fresh), error) from error
    return True


def _beside(target: Target, release: str) -> str:
    """Say which process of `release` does not keep running; its timers' jobs are no reason to turn back."""
    found = [one for one in target.manager.companions() if one.release == release and one.kind == "process"]
    return next((f"its process {one.name} {one.trouble}" for one in found if one.trouble), "")


def _process(target: Target, proven: Instance) -> str:
    # By its release, not by its role: the manager takes that from the commit file, which may be lost meanwhile.
    found = [one for one in target.manager.instances() if one.release == proven.release]
    live = [one for one in found if one.role is not Role.RETIRING]
    if not live:
        return f"its process {proven.pid} is gone"
    if all(one.pid != proven.pid for one in live):
        return f"its process {proven.pid} was replaced by {live[-1].pid}: it restarted"
    return ""


class _Checks:
    """Asks the instance itself, again and again; only a server that has its private socket is asked."""

    def __init__(self, pool: ThreadPoolExecutor, target: Target, proven: Instance, check: Check) -> None:
        self._pool = pool
        self._clock = target.clock
        self._question = (check.visitor, proven.private, check.path or STATUS_PATH)
        self._asks = Path(proven.private).is_socket()
        self._due = target.clock.monotonic()
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
                return f"its check {self._question[2]} failed {FAILURES} times in a row: {problem}"
        return ""


def _ask(visitor: Visitor, private: str, path: str) -> str:
    try:
        status, _, _ = visitor.get(private, path, CHECK_TIMEOUT)
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT:g} s"
    except OSError as error:
        return in_words(error)
    return "" if 200 <= status < 300 else f"status {status}"
