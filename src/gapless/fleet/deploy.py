"""A deploy to many hosts: wave after wave, and where one host cannot take the release, all go back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.fleet import answers, waves
from gapless.fleet.answers import UnreachableError
from gapless.fleet.hosts import Host
from gapless.fleet.play import Answer, Order, Play


class State(StrEnum):
    """What has become of a host."""

    WAITING = "waiting"
    DEPLOYING = "deploying"
    DEPLOYED = "deployed"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    TURNED_BACK = "turned back"


@dataclass
class Part:
    """One host in a deploy: its state, the releases that it says it has, and the error that it ended with."""

    host: Host
    state: State = State.WAITING
    release: str | None = None
    previous: str | None = None
    error: GaplessError | None = None
    warnings: list[str] = field(default_factory=list)


class Observer(Protocol):
    """Is told of each change."""

    def changed(self, part: Part) -> None: ...


@dataclass
class Fleet:
    """The hosts of an app, and where the app is on each."""

    config: Config
    hosts: Sequence[Host]
    destination: str = ""

    def argv(self, verb: str, *more: str) -> list[str]:
        """The command of a host for the app."""
        directory = self.config.fleet.directory or f"/etc/gapless/{self.config.name}"
        destination = ["-d", self.destination] if self.destination else []
        return ["gapless", *verb.split(), *more, "--json", "-C", directory, *destination]


def deploy(fleet: Fleet, artifact: Path, options: Sequence[str], observer: Observer) -> list[Part]:
    """Deploy the artifact to all hosts; returns what became of each."""
    parts = {host: Part(host) for host in fleet.hosts}
    names = {host.name: host for host in fleet.hosts}
    planned = [[names[one] for one in wave] for wave in waves.plan([*names], fleet.config.hosts.waves)]
    with Play(planned) as play:
        for wave in planned:
            order = Order(fleet.argv("deploy", "-", *options), artifact)
            for host in wave:
                parts[host].state = State.DEPLOYING
                observer.changed(parts[host])

            def seen(host: Host, answer: Answer) -> None:
                _deployed(parts[host], answer)
                observer.changed(parts[host])

            play.round(dict.fromkeys(wave, order), seen)
            if sum(part.state is State.FAILED for part in parts.values()) > fleet.config.hosts.max_failures:
                break
        else:
            return [*parts.values()]
    _turn_back(fleet, [part for part in parts.values() if part.state is State.DEPLOYED], observer)
    return [*parts.values()]


def _deployed(part: Part, answer: Answer) -> None:
    part.warnings += answers.warnings(answer)
    try:
        found = answers.document(part.host, "deploy", answer)
    except GaplessError as error:
        part.error = error
        part.state = State.UNREACHABLE if isinstance(error, UnreachableError) else State.FAILED
        return
    part.state, part.release, part.previous = State.DEPLOYED, found["release"], found["previous"]


def _turn_back(fleet: Fleet, parts: Sequence[Part], observer: Observer) -> None:
    """Have hosts serve their previous releases again."""
    if not parts:
        return
    by_host = {part.host: part for part in parts}

    def seen(host: Host, answer: Answer) -> None:
        part = by_host[host]
        try:
            answers.document(host, "rollback", answer)
        except GaplessError as error:
            part.error = error
        else:
            part.state, part.release = State.TURNED_BACK, part.previous
        observer.changed(part)

    with Play([[*by_host]]) as play:
        play.round(dict.fromkeys(by_host, Order(fleet.argv("rollback", "--yes"))), seen)
