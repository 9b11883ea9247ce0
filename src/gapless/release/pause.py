"""A pause: visitors wait in the kernel's queue, and nothing of the app answers, until somebody or the clock ends it.

The timer that ends it is armed by the manager before anything else. Whoever pauses may die at any instruction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gapless.errors import GaplessError
from gapless.release import recovery, unconfirmed
from gapless.release.attempt import Target
from gapless.release.hold import BUSY
from gapless.release.holding import me
from gapless.release.lock import DeployLock, deploy_lock
from gapless.switch import engine, orders
from gapless.switch import pause as pauses
from gapless.switch.manager import Instance, Role
from gapless.switch.pause import Pause

LONGEST = 600.0  # seconds: visitors' own patience ends long before
LOOK_EVERY, RETRY = 0.02, 0.2  # seconds
PATIENCE = 10.0  # seconds that the end of a pause waits for the lock, which others then have for a moment


@dataclass(frozen=True)
class Paused:
    """A pause that is on; `new` unless somebody else made it."""

    target: Target
    pause: Pause
    new: bool = True

    @property
    def lasts(self) -> bool:
        """Whether nobody was let in since the pause began."""
        return pauses.lasting(self.target.home) == self.pause

    def await_quiet(self) -> None:
        """Return when all that was accepted before is answered. Raises GaplessError when the pause ends before."""
        while True:
            status = orders.status(self.pause.instance.private, orders.TIMEOUT)
            if not self.lasts:
                raise self._error(f"its visitors were not all answered before the pause ended ({_under_way(status)})")
            if orders.is_quiet(status):
                return
            self.target.clock.sleep(LOOK_EVERY)

    def _error(self, cause: str) -> GaplessError:
        hint = "pass a longer --at-most; [drain] says how long requests and streams may take"
        return GaplessError("pause", self.pause.instance.release, f"{cause}; visitors are served again", hint)


@contextmanager
def visitors_waiting(target: Target, at_most: float) -> Iterator[None]:
    """Inside the block nothing of the app answers: for who has the deploy lock, and replaces the server meanwhile.

    The next server ends the pause. A server that cannot pause, or none, is let alone. Raises GaplessError when it does
    not come to rest in time.
    """
    live, others = _serving(target)
    if live is None or not target.manager.resume(live):
        yield
        return
    _refuse_others(live, others)
    held = _pause(target, live, at_most)
    try:
        held.await_quiet()
        yield
    finally:
        _end(target)


def begin(target: Target, at_most: float) -> Paused:
    """Have visitors wait for at most so many seconds, and return when nothing is under way any more.

    A pause that is on already stays as it is. Raises GaplessError, and then visitors are served, or will be in time;
    with status 75 when a deploy is under way, or an old release drains, for longer than the target is to wait.
    """
    if not 0 < at_most <= LONGEST:
        hint = f"--at-most {LONGEST / 60:g}m is the longest"
        raise GaplessError("pause", f"for {at_most:g} s", "visitors would wait not at all, or give up", hint, status=2)
    deadline = target.clock.monotonic() + target.lock_wait
    while True:
        try:
            held = _begin(target, at_most)
            break
        except GaplessError as refused:
            if refused.status != BUSY or target.clock.monotonic() >= deadline:
                raise
            target.clock.sleep(RETRY)
    try:
        held.await_quiet()
    except BaseException:
        if held.new:
            end(target)
        raise
    return held


def end(target: Target) -> bool:
    """Let visitors in again, at once; False when no pause was on. Raises GaplessError when the server does not obey."""
    if pauses.read(target.home) is None:
        return False
    with _locked(target, "resume", max(target.lock_wait, PATIENCE)):
        return _end(target)


def _begin(target: Target, at_most: float) -> Paused:
    with _locked(target, "pause", 0.0) as lock:
        if found := pauses.lasting(target.home):
            return Paused(target, found, new=False)
        if waits := unconfirmed.read(target.home.root):
            raise unconfirmed.refused(target.home.root, waits)
        recovery.restore(target)
        engine.repair(target.manager)
        live = _only(target)
        lock.name(release=live.release)
        return _pause(target, live, at_most)


def _pause(target: Target, live: Instance, at_most: float) -> Paused:
    try:
        pause = pauses.of(live, at_most, me())
    except OSError as error:
        raise GaplessError("pause", live.release, f"its server ended just now: {error}") from error
    if not target.manager.resume(live):  # it serves: this only asks whether it takes such orders
        cause = "its server cannot stand by (or does not answer), and goes on serving"
        raise GaplessError("pause", live.release, cause, "`gapless serve` can; another server would have to be stopped")
    target.manager.arm(live, at_most)
    try:
        pauses.write(target.home, pause)
        obeyed = target.manager.pause(live)
    except BaseException:
        _end(target)
        raise
    if not obeyed:
        _end(target)
        cause = f"its server did not obey within {orders.TIMEOUT:g} s; visitors are served"
        raise GaplessError("pause", live.release, cause, "`gapless logs` says what it does")
    return Paused(target, pause)


def _end(target: Target) -> bool:
    pause = pauses.read(target.home)
    if pause is None:
        return False
    lasted = pause.lasts
    if pause.lives and not target.manager.resume(pause.instance):
        hint = "`gapless logs` says what it does; its timer goes on to try"
        raise GaplessError("resume", pause.instance.release, "its server does not answer", hint)
    pauses.forget(target.home)
    try:
        target.manager.disarm()
    except GaplessError as error:  # the timer resumes who serves already
        target.observer.warning(str(error))
    return lasted


def _only(target: Target) -> Instance:
    """The one instance that runs, and serves. Raises GaplessError."""
    live, others = _serving(target)
    if live is None:
        hint = "`gapless status` shows what runs, `gapless logs` what it says"
        raise GaplessError("pause", target.manager.current() or "nothing", "no instance of it serves", hint)
    _refuse_others(live, others)
    return live


def _serving(target: Target) -> tuple[Instance | None, list[Instance]]:
    """The instance that serves, and all others."""
    found = target.manager.instances()
    live = next((one for one in found if one.role is Role.LIVE and one.ready), None)
    return live, [one for one in found if one is not live]


def _refuse_others(live: Instance, others: list[Instance]) -> None:
    if others:
        names = ", ".join(one.release for one in others)
        cause = f"{names} still answers visitors that came before the last switchover"
        raise GaplessError("pause", live.release, cause, "`gapless status` shows when that is over", status=BUSY)


def _under_way(status: dict[str, object] | None) -> str:
    if status is None:
        return "the server does not answer"
    return f"requests under way: {status.get('requests')}, WebSockets: {status.get('websockets')}"


@contextmanager
def _locked(target: Target, verb: str, wait: float) -> Iterator[DeployLock]:
    with deploy_lock(target.home.root, why=verb, wait=wait, clock=target.clock, deploys=False) as lock:
        yield lock
