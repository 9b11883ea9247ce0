"""A deploy to many hosts: wave after wave, and where too many cannot take the release, all go back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gapless.fleet import waves
from gapless.fleet.orders import give
from gapless.fleet.parts import Fleet, Observer, Part, State
from gapless.fleet.play import Order, Play


class Rollout:
    """A deploy of the artifact to all hosts, with `options` of `gapless deploy` on each."""

    def __init__(self, fleet: Fleet, artifact: Path, options: Sequence[str], observer: Observer) -> None:
        self._fleet = fleet
        self._artifact = artifact
        self._options = options
        self._observer = observer
        names = {host.name: host for host in fleet.hosts}
        plan = waves.plan([*names], fleet.config.hosts.waves)
        self._waves = [[Part(names[name], number) for name in wave] for number, wave in enumerate(plan, 1)]
        self.parts = [part for wave in self._waves for part in wave]

    def run(self) -> None:
        """Deploy wave after wave; more failures than are allowed, or an interruption, have all go back.

        Raises GaplessError or KeyboardInterrupt, when that is done.
        """
        try:
            if self._all_have_it():
                return
        except BaseException:
            self._turn_back()
            raise
        self._turn_back()

    def _all_have_it(self) -> bool:
        orders = [Order(self._fleet.argv("deploy", "-", *self._options), self._artifact)]
        with Play([[part.host for part in wave] for wave in self._waves]) as play:
            for wave in self._waves:
                give(play, [(part, orders) for part in wave], [State.DEPLOYING], _deployed, self._observer)
                if sum(part.state is State.FAILED for part in self.parts) > self._fleet.config.hosts.max_failures:
                    return False
        return True

    def _turn_back(self) -> None:
        """Have the hosts that have the release serve the previous one again; what has not begun, never does."""
        for part in self.parts:
            if part.state is State.WAITING:
                part.state = State.SPARED
                self._observer.changed(part)
        if not (done := [part for part in self.parts if part.state is State.DEPLOYED and part.previous]):
            return
        orders = [(part, [Order(self._fleet.argv("rollback", str(part.previous), "--yes"))]) for part in done]
        with Play([[part.host for part in done]]) as play:
            give(play, orders, [State.TURNING_BACK], _turned_back, self._observer)


def _deployed(part: Part, _number: int, document: dict[str, Any]) -> None:
    part.state, part.release, part.previous = State.DEPLOYED, document["release"], document["previous"]


def _turned_back(part: Part, _number: int, document: dict[str, Any]) -> None:
    part.state, part.release = State.TURNED_BACK, document["release"]
