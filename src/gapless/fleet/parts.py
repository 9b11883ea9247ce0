"""What becomes of each host while a verb acts on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.fleet import waves
from gapless.fleet.hosts import Host


class State(StrEnum):
    """Where a host is; what a state is called is printed, and is in documents."""

    WAITING = "waiting"
    PREPARING = "preparing"  # it gets what `gapless up` needs there
    PREPARED = "prepared"
    ASKED = "asked"
    ANSWERED = "answered"
    MIGRATING = "migrating"
    DEPLOYING = "deploying"
    ROLLING_BACK = "rolling back"
    UP = "up"
    CONFIRMING = "confirming"
    PROVEN = "proven"  # and what was there before stands by
    KEEPING = "keeping"
    DEPLOYED = "deployed"
    ROLLED_BACK = "rolled back"
    TURNING_BACK = "turning back"
    TURNED_BACK = "turned back"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    INTERRUPTED = "interrupted"  # the host turns itself back
    SPARED = "spared"  # it ended before it was this host's turn

    @property
    def busy(self) -> bool:
        """Whether the host is about something."""
        return self.endswith("ing") and self is not State.WAITING


@dataclass
class Part:
    """One host: its state, the releases that it says it has, and the error that it ended with."""

    host: Host
    wave: int = 1
    state: State = State.WAITING
    release: str | None = None
    previous: str | None = None
    lease: str = ""  # the token
    error: GaplessError | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def held(self) -> list[str]:
        """The options with which its gapless goes on in the lease."""
        return ["--lease", self.lease] if self.lease else []


class Observer(Protocol):
    """Is told of each change of a host's part."""

    def changed(self, part: Part) -> None: ...


@dataclass(frozen=True)
class Fleet:
    """The hosts of an app that a verb acts on, in their order, and how the app's gapless is called there."""

    config: Config
    hosts: Sequence[Host]
    destination: str = ""

    def in_waves(self, sizes: Sequence[int | str]) -> list[list[Part]]:
        """The hosts as parts that wait, wave by wave."""
        names = {host.name: host for host in self.hosts}
        plan = waves.plan([*names], sizes)
        return [[Part(names[name], number) for name in wave] for number, wave in enumerate(plan, 1)]

    @property
    def directory(self) -> str:
        """The app's directory on each host."""
        return self.config.fleet.directory or f"/etc/gapless/{self.config.name}"

    @property
    def meant(self) -> list[str]:
        """The options that say which app is meant there."""
        return ["-C", self.directory, *(["-d", self.destination] if self.destination else [])]

    def argv(self, verb: str, *more: str) -> list[str]:
        """The command of a host for the app."""
        return ["gapless", *verb.split(), *more, "--json", *self.meant]
