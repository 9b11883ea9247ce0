"""The one fake manager: it keeps the contract as the real ones do (tests/contract), but starts no process."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.files import replace
from gapless.switch.manager import Companion, Instance, Readiness, Role, Started

NOBODY = 1 << 22  # no process has this pid or a higher one: PID_MAX_LIMIT of the kernel


@dataclass
class Running:
    """An instance in the script."""

    id: str
    release: str
    pid: int
    since: float
    ready: bool
    retiring: bool = False
    standing_by: bool = False


class ScriptedManager:
    """Implements Manager; the test says what happens: its attributes and its `hooks`, "before CALL" and "after CALL".

    It knows the releases of `home`, and keeps its state in two files beside the project, so that this outlives a
    deployer that is killed. Without a home the state is in memory, and there is every release.
    """

    def __init__(self, home: Path | None = None, hooks: dict[str, Callable[[], None]] | None = None) -> None:
        self.home = Home(home) if home else None
        self.commit = home.parent.with_suffix(".commit") if home else Path("commit")
        self.hooks = hooks or {}
        self.beside: list[Companion] = []
        self.readiness = Readiness.READY  # of the next candidates
        self.drains = True  # who retires has requests under way until `end_retired`; else it is gone at once
        self.can_stand_by = False
        self.armed: tuple[str, float] | None = None  # who is to be resumed, in how many seconds
        self.timeouts: list[float] = []
        self.named: str | None = None  # as the current release
        self.boots: list[str] = []  # the release of every instance there ever was
        self.running: list[Running] = []

    @contextmanager
    def script(self) -> Iterator[None]:
        """Inside the block `named`, `boots` and `running` are what they are now; changes of the last two are kept."""
        state = self.commit.with_suffix(".instances")
        if self.home:
            self.named = self.commit.read_text() if self.commit.exists() else None
            if state.exists():
                self.boots, self.running = msgspec.json.decode(state.read_text(), type=tuple[list[str], list[Running]])
        yield
        self.settle()
        if self.home:
            replace(state, msgspec.json.encode((self.boots, self.running)).decode())

    def settle(self) -> None:
        """A manager's one rule: the current release runs. It proved itself before, so it comes up again."""
        if self.named and not any(one.release == self.named and not one.retiring for one in self.running):
            with suppress(GaplessError):  # the commit file names what is no release: it is damaged
                self._find(self.named)
                self.spawn(self.named)

    def spawn(self, release: str, *, ready: bool = True) -> Running:
        self.boots.append(release)
        number = len(self.boots)
        self.running.append(Running(f"{release}.{number}", release, NOBODY + number, time.time(), ready))
        return self.running[-1]

    def end(self, instance: Instance) -> None:
        """It dies."""
        with self.script():
            self.running = [one for one in self.running if one.id != instance.id]

    def end_retired(self) -> None:
        """Every drain ends."""
        with self.script():
            self.running = [one for one in self.running if not one.retiring]

    @contextmanager
    def called(self, call: str) -> Iterator[None]:
        """One call of the protocol."""
        self.hooks.get(f"before {call}", lambda: None)()
        with self.script():
            yield
        self.hooks.get(f"after {call}", lambda: None)()

    def _find(self, release: str) -> None:
        if self.home:
            self.home.release(release)

    def _seen(self, one: Running) -> Instance:
        role = Role.of(current=one.release == self.named, retiring=one.retiring)
        private = f"{one.id}.sock" if self.can_stand_by else ""
        return Instance(one.id, one.release, role, one.pid, one.since, one.ready, private)

    def _meant(self, instance: Instance) -> Running | None:
        return next((one for one in self.running if one.id == instance.id), None)

    # The protocol

    def start(self, release: str, timeout: float) -> Started:
        self.timeouts.append(timeout)
        with self.called("start"):
            self._find(release)
            for one in self.running:
                if one.release == release == self.named and not one.retiring:
                    cause = f"it is the current release and runs already (pid {one.pid})"
                    raise GaplessError("start", release, cause)
            instance = self._seen(self.spawn(release, ready=self.readiness is Readiness.READY))
            if self.readiness is Readiness.EXITED:
                self.running.pop()
        return Started(instance, self.readiness, "" if instance.ready else "it said no")

    def retire(self, instance: Instance) -> None:
        with self.called("retire"):
            if one := self._meant(instance):
                one.retiring = True
                if not self.drains:
                    self.running.remove(one)

    def stand_by(self, instance: Instance) -> bool:
        with self.called("stand_by"):
            one = self._meant(instance)
            if one is None or not self.can_stand_by:
                return False
            one.standing_by = True
            return True

    def pause(self, instance: Instance) -> bool:
        return self.stand_by(instance)

    def arm(self, instance: Instance, seconds: float) -> None:
        with self.called("arm"):
            self.armed = (instance.id, seconds)

    def disarm(self) -> None:
        with self.called("disarm"):
            self.armed = None

    def resume(self, instance: Instance) -> bool:
        with self.called("resume"):
            one = self._meant(instance)
            if one is None or not one.standing_by:
                return False
            one.standing_by = False
            return True

    def stop(self, instance: Instance) -> None:
        with self.called("stop"):
            self.end(instance)

    def instances(self) -> Sequence[Instance]:
        with self.called("instances"):
            return [self._seen(one) for one in self.running]

    def companions(self) -> Sequence[Companion]:
        """None but those of the test."""
        return self.beside

    def in_use(self) -> Collection[str]:
        return {one.release for one in self.instances()}

    def tidy(self) -> None:
        """Do nothing: nothing is kept of releases that are gone."""

    def point(self, release: str) -> None:
        with self.called("point"):
            self._find(release)
            if self.home:
                replace(self.commit, release)
            self.named = release

    def current(self) -> str | None:
        with self.called("current"):
            return self.named
