"""`gapless up` on many hosts: they get what they lack, then the app is installed on them, wave after wave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gapless.fleet.answers import UnreachableError
from gapless.fleet.hosts import Host
from gapless.fleet.orders import Step, give
from gapless.fleet.parts import Fleet, Observer, Part, State
from gapless.fleet.play import Order, Play
from gapless.fleet.provision import provision


class Rise:
    """`gapless up` with `options` on all hosts, of the `artifact` and with `settings` as the app's files there.

    `prepared` has what a host was lacking, by host, and `documents` what its `gapless up` answered.
    """

    def __init__(
        self, fleet: Fleet, artifact: Path, settings: Path, options: Sequence[str], observer: Observer
    ) -> None:
        self._fleet = fleet
        self._artifact = artifact
        self._settings = settings
        self._options = [*options]
        self._observer = observer
        self._waves = fleet.in_waves([1, *fleet.config.hosts.waves])  # the first alone: it may have to migrate
        self.parts = [part for wave in self._waves for part in wave]
        self.prepared: dict[Host, list[str]] = {host: [] for host in fleet.hosts}
        self.documents = dict[Host, dict[str, Any]]()

    def run(self, *, dry_run: bool = False) -> None:
        """Do it; more failures than are allowed keep it from the hosts that are left. Raises GaplessError."""
        self._prepare(dry_run=dry_run)
        # What would be installed first, cannot be asked.
        ready = [[one for one in wave if not (dry_run and self.prepared[one.host])] for wave in self._waves]
        ready = [[one for one in wave if one.state is State.PREPARED] for wave in ready]
        if ready := [wave for wave in ready if wave]:
            self._install(ready, dry_run=dry_run)
        for part in self.parts:
            if part.state in (State.WAITING, State.PREPARED) and not dry_run:
                self._change(part, State.SPARED)

    def _prepare(self, *, dry_run: bool) -> None:
        parts = {part.host: part for part in self.parts}
        for task in provision(self._fleet, self._settings, dry_run=dry_run):
            part = parts[task.host]
            if task.ready:
                self._change(part, State.PREPARED)
            elif task.error:
                part.error = task.error
                self._change(part, State.UNREACHABLE if isinstance(task.error, UnreachableError) else State.FAILED)
            else:
                self.prepared[task.host].append(task.name)
                if part.state is State.WAITING:
                    self._change(part, State.PREPARING)

    def _install(self, ready: Sequence[Sequence[Part]], *, dry_run: bool) -> None:
        dry = ["--dry-run"] if dry_run else []
        step = Step(
            Order(self._fleet.argv("up", "-", *self._options, *dry), self._artifact), State.DEPLOYING, self._done
        )
        with Play([[one.host for one in wave] for wave in ready]) as play:
            for wave in ready:
                if not self._failed():
                    give(play, [(one, [step]) for one in wave], self._observer)

    def _done(self, part: Part, document: dict[str, Any]) -> None:
        self.documents[part.host] = document
        part.state = State.UP
        if made := document.get("deployed"):
            part.release, part.previous = made["release"], made["previous"]

    def _failed(self) -> bool:
        return sum(part.state is State.FAILED for part in self.parts) > self._fleet.config.hosts.max_failures

    def _change(self, part: Part, state: State) -> None:
        part.state = state
        self._observer.changed(part)
