"""Many hosts change to a release together: wave after wave, and where too many cannot, all go back.

No host keeps it before all have it: the releases that were there stand by meanwhile. A host turns itself back where it
hears nothing more from us, so it does not matter when we die, or are cut off.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec

from gapless.fleet.hosts import Host
from gapless.fleet.orders import Step, give
from gapless.fleet.parts import Fleet, Observer, Part, State
from gapless.fleet.play import Order, Play

BUSY = 75  # the status of who is refused because others deploy
LEASE = 600.0  # seconds for which hosts are kept for us without a word from us, at least
AGAIN = 20.0  # seconds for which a host that has the release is tried anew


@dataclass(frozen=True)
class Change:
    """What hosts are to change to: `verb` is what others read of it, `by` is who does it.

    `order` is the command that does it on a host, given the options of a rollout; `migrate` comes before, on one host.
    """

    verb: str
    by: str
    order: Callable[[Part, Sequence[str]], Order]
    doing: State
    done: State
    migrate: Callable[[Part, Sequence[str]], Order] | None = None


class Rollout:
    """A change of all hosts, which are in `waves`. Ansible starts as its block is entered, and ends with that."""

    def __init__(self, fleet: Fleet, waves: Sequence[Sequence[Part]], change: Change, observer: Observer) -> None:
        self._fleet = fleet
        self._waves = waves
        self._change = change
        self._observer = observer
        self.parts = [part for wave in waves for part in wave]
        self._several = len(self.parts) > 1
        self._lent = False
        self._tokens = {part.host: secrets.token_hex(16) for part in self.parts}  # of leases that are to be taken
        self._left = ExitStack()
        self._play: Play

    def __enter__(self) -> Rollout:
        """Start Ansible, which takes its time. Raises GaplessError where it is not installed."""
        self._play = self._left.enter_context(Play(self._rounds()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._left.__exit__(kind, error, at)

    def lend(self, leases: Mapping[Host, str]) -> None:
        """Go on in the leases, if any, that the caller has on all hosts, and leave them to him; before the block."""
        self._lent = bool(leases)
        for part in self.parts:
            part.lease = leases.get(part.host, "")

    def run(self, name: str) -> None:
        """Change wave after wave to what others read as `name`.

        More failures than are allowed, or an interruption, have all go back. Raises GaplessError or KeyboardInterrupt,
        when that is done.
        """
        all_have_it = False
        try:
            with self._left:
                all_have_it = self._begin(self._play, name) and self._all_have_it(self._play)
                if all_have_it:
                    self._keep(self._play)
        finally:
            if not all_have_it:  # else some host may keep it, so none is told to go back
                self._turn_back()

    @property
    def _takes(self) -> bool:
        """Whether leases have to be taken."""
        return self._several and not self._lent

    def _rounds(self) -> list[list[Host]]:
        """Who may get orders in each round; `run` has the same ones."""
        hosts = [part.host for part in self.parts]
        begin = [hosts[:1], hosts[1:]] if self._takes else []
        migrated = [hosts] if self._change.migrate else []
        return [*begin, *migrated, *([part.host for part in wave] for wave in self._waves), hosts]

    def _begin(self, play: Play, name: str) -> bool:
        """Have nobody else deploy on any host. The first host is asked first: of two who begin, one gets all.

        Then have the first that is there migrate the database, where all share one.
        """
        change, seconds = self._change, max(LEASE, self._fleet.config.fleet.stand_by)
        why = f"{change.verb} of {name}"
        argv = self._fleet.argv("lock acquire", "--why", why, "--for", f"{seconds:g}", "--by", change.by)
        for some in (self.parts[:1], self.parts[1:]) if self._takes else ():
            orders = {part.host: Order([*argv, "--token", self._tokens[part.host]]) for part in some}
            give(play, [(part, [Step(orders[part.host], State.ASKED, _leased)]) for part in some], self._observer)
            if self._failed() or any(part.error and part.error.status == BUSY for part in some):
                return False
        if not (there := _there(self.parts)):
            return False
        if not change.migrate:
            return True
        order = change.migrate(there[0], there[0].held)
        give(play, [(there[0], [Step(order, State.MIGRATING, _waits)])], self._observer)
        return there[0].error is None

    def _all_have_it(self, play: Play) -> bool:
        """Have each host reached anew as soon as it has changed: what was there before then stands by for longer."""
        fleet = self._fleet.config.fleet
        undecided = self._several or fleet.url
        more = ["--stand-by", f"{fleet.stand_by:g}"] if undecided else []
        for wave in self._waves:
            steps = list[tuple[Part, list[Step]]]()
            for part in _there(wave):
                change = self._change.order(part, ["--confirm", f"{fleet.confirm:g}", *part.held])
                reach = Order(self._fleet.argv("confirm", *more, *part.held), patience=fleet.confirm / 2, anew=True)
                done = _reached if undecided else self._confirmed
                steps.append((part, [Step(change, self._change.doing, _changed), Step(reach, State.CONFIRMING, done)]))
            give(play, steps, self._observer)
            if fleet.url:
                self._visit(wave)
            if self._failed():
                return False
        return any(part.state in (State.PROVEN, self._change.done) for part in self.parts)

    def _visit(self, wave: Sequence[Part]) -> None:
        from gapless.fleet.visit import visit  # only who has a `url` pays for it

        reached = [part for part in wave if part.state is State.PROVEN]
        visit(reached, self._fleet.config.fleet.url, self._fleet.config.fleet.confirm)
        for part in reached:
            if part.error:
                self._observer.changed(part)

    def _keep(self, play: Play) -> None:
        """Have all hosts keep what they have; from here on nobody goes back, whatever comes."""
        try:
            self._decide(play)
        except BaseException:
            with Play([[part.host for part in self.parts]]) as again:
                self._decide(again)
            raise

    def _decide(self, play: Play) -> None:
        steps = list[tuple[Part, list[Step]]]()
        for part in self.parts:
            if part.state in (State.PROVEN, State.KEEPING):
                argv = self._fleet.argv("confirm", str(part.release), *self._ending(part))
                steps.append((part, [Step(Order(argv, patience=AGAIN), State.KEEPING, self._confirmed)]))
            elif back := self._back(part):
                steps.append((part, [back]))
        if steps:
            give(play, steps, self._observer)

    def _failed(self) -> bool:
        """Whether too many cannot take it: also who is not reached any more, but not who never was."""
        bad = [part for part in self.parts if part.state is State.FAILED or (part.error and part.lease)]
        return len(bad) > self._fleet.config.hosts.max_failures

    def _ending(self, part: Part) -> list[str]:
        """The options of the last command in the lease, which lets others deploy there again if that is ours to do."""
        return [*part.held, "--end-lease"] if part.lease and not self._lent else part.held

    def _turn_back(self) -> None:
        """Have the hosts that have it serve what they served before; what has not begun, never does."""
        steps = list[tuple[Part, list[Step]]]()
        for part in self.parts:
            if back := self._back(part):
                steps.append((part, [back]))
            elif part.state is State.ASKED:  # nothing was heard: it may have the lease
                release = self._fleet.argv("lock release", "--lease", self._tokens[part.host])
                steps.append((part, [Step(Order(release))]))
            if part.state in (State.WAITING, State.ASKED, State.MIGRATING) or part.state is self._change.doing:
                begun = part.state is self._change.doing
                part.state = State.INTERRUPTED if begun else State.SPARED
                self._observer.changed(part)
        if steps:
            with Play([[part.host for part, _ in steps]]) as play:
                give(play, steps, self._observer)

    def _back(self, part: Part) -> Step | None:
        """What has a host serve what it served before, where it is known to have the new one, and ends its lease."""
        if part.previous and part.release and part.state is not self._change.done:
            argv = self._fleet.argv("rollback", part.previous, "--yes", *self._ending(part))
            return Step(Order(argv, patience=AGAIN), State.TURNING_BACK, _turned_back)
        release = Order(self._fleet.argv("lock release", *part.held), patience=AGAIN)
        return Step(release) if part.lease and not self._lent else None

    def _confirmed(self, part: Part, _document: dict[str, Any]) -> None:
        part.state = self._change.done


def _there(parts: Sequence[Part]) -> list[Part]:
    """Those that nothing has gone wrong with."""
    return [part for part in parts if part.error is None]


def _leased(part: Part, document: dict[str, Any]) -> None:
    part.lease, part.state = msgspec.convert(document["token"], str), State.WAITING


def _waits(part: Part, _document: dict[str, Any]) -> None:
    part.state = State.WAITING


def _changed(part: Part, document: dict[str, Any]) -> None:
    found = document["release"], document["previous"]
    part.release, part.previous = msgspec.convert(found, tuple[str, str | None])


def _reached(part: Part, _document: dict[str, Any]) -> None:
    part.state = State.PROVEN


def _turned_back(part: Part, document: dict[str, Any]) -> None:
    part.release, part.state = msgspec.convert(document["release"], str), State.TURNED_BACK
