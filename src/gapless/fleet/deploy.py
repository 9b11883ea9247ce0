"""A deploy to many hosts: wave after wave, and where too many cannot take the release, all go back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gapless.fleet import waves
from gapless.fleet.hosts import Host
from gapless.fleet.orders import Step, give
from gapless.fleet.parts import Fleet, Observer, Part, State
from gapless.fleet.play import Order, Play

BUSY = 75  # the status of who is refused because others deploy
LEASE = "10m"  # how long hosts are kept for us without a word from us
AGAIN = 20.0  # seconds for which a host that has the release is tried anew


class Rollout:
    """A deploy of the artifact to all hosts, with `options` of `gapless deploy` on each; `by` is who does it."""

    def __init__(
        self, fleet: Fleet, artifact: Path, options: Sequence[str], observer: Observer, by: str, what: str
    ) -> None:
        self._fleet = fleet
        self._artifact = artifact
        self._options = [*options]
        self._observer = observer
        self._by = by
        self._what = what
        names = {host.name: host for host in fleet.hosts}
        plan = waves.plan([*names], fleet.config.hosts.waves)
        self._waves = [[Part(names[name], number) for name in wave] for number, wave in enumerate(plan, 1)]
        self.parts = [part for wave in self._waves for part in wave]

    def run(self) -> None:
        """Deploy wave after wave; more failures than are allowed, or an interruption, have all go back.

        Raises GaplessError or KeyboardInterrupt, when that is done.
        """
        try:
            with Play(self._rounds()) as play:
                done = self._all_have_it(play)
        except BaseException:
            self._turn_back()
            raise
        if not done:
            self._turn_back()

    @property
    def _several(self) -> bool:
        return len(self.parts) > 1

    @property
    def _migrates_once(self) -> bool:
        config = self._fleet.config
        return self._several and bool(config.release.migrate) and config.fleet.migrate == "once"

    def _rounds(self) -> list[list[Host]]:
        """Who may get orders in each round; `_all_have_it` has the same ones."""
        hosts = [part.host for part in self.parts]
        leased = [hosts[:1], hosts[1:]] if self._several else []
        migrated = [hosts] if self._migrates_once else []
        ended = [hosts] if self._several else []
        return [*leased, *migrated, *([part.host for part in wave] for wave in self._waves), *ended]

    def _all_have_it(self, play: Play) -> bool:
        if self._several and not self._lease(play):
            return False
        if self._migrates_once and not self._migrate(play):
            return False
        for wave in self._waves:
            give(play, [(part, [self._deploy(part)]) for part in _there(wave)], self._observer)
            if self._failed():
                return False
        if self._several:
            give(play, [(part, [Step(self._release(part))]) for part in self.parts if part.lease], self._observer)
        return True

    def _lease(self, play: Play) -> bool:
        """Have nobody else deploy on any host. The first host is asked first: of two who begin, one gets all."""
        argv = self._fleet.argv("lock acquire", "--why", f"deploy of {self._what}", "--for", LEASE, "--by", self._by)
        step = Step(Order(argv), State.ASKED, _leased)
        for some in (self.parts[:1], self.parts[1:]):
            give(play, [(part, [step]) for part in some], self._observer)
            if self._failed() or any(part.error and part.error.status == BUSY for part in some):
                return False
        return bool(_there(self.parts))

    def _migrate(self, play: Play) -> bool:
        """Have the first host that is there migrate the database that all share."""
        first = _there(self.parts)[0]
        argv = self._fleet.argv("deploy", "-", "--migrate-only", *first.held)
        give(play, [(first, [Step(Order(argv, self._artifact), State.MIGRATING, _waits)])], self._observer)
        return first.error is None

    def _deploy(self, part: Part) -> Step:
        migrated = ["--without-migration"] if self._migrates_once else []
        argv = self._fleet.argv("deploy", "-", *self._options, *migrated, *part.held)
        return Step(Order(argv, self._artifact), State.DEPLOYING, _deployed)

    def _failed(self) -> bool:
        return sum(part.state is State.FAILED for part in self.parts) > self._fleet.config.hosts.max_failures

    def _release(self, part: Part) -> Order:
        """Let others deploy there again."""
        return Order(self._fleet.argv("lock release", *part.held), patience=AGAIN)

    def _turn_back(self) -> None:
        """Have the hosts that have the release serve the previous one again; what has not begun, never does."""
        steps = list[tuple[Part, list[Step]]]()
        for part in self.parts:
            release = self._release(part) if part.lease else None
            if part.state is State.DEPLOYED and part.previous:
                back = self._fleet.argv("rollback", part.previous, "--yes", *part.held)
                order = Order(back, patience=AGAIN, afterwards=release.argv if release else ())
                steps.append((part, [Step(order, State.TURNING_BACK, _turned_back)]))
            elif release:
                steps.append((part, [Step(release)]))
            if part.state in (State.WAITING, State.ASKED):
                part.state = State.SPARED
                self._observer.changed(part)
        if steps:
            with Play([[part.host for part, _ in steps]]) as play:
                give(play, steps, self._observer)


def _there(parts: Sequence[Part]) -> list[Part]:
    """Those that nothing has gone wrong with."""
    return [part for part in parts if part.error is None]


def _leased(part: Part, document: dict[str, Any]) -> None:
    part.lease, part.state = document["token"], State.WAITING


def _waits(part: Part, _document: dict[str, Any]) -> None:
    part.state = State.WAITING


def _deployed(part: Part, document: dict[str, Any]) -> None:
    part.state, part.release, part.previous = State.DEPLOYED, document["release"], document["previous"]


def _turned_back(part: Part, document: dict[str, Any]) -> None:
    part.state, part.release = State.TURNED_BACK, document["release"]
