"""A deploy of one artifact to many hosts, in the waves of [hosts]."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gapless.fleet.parts import Fleet, Observer, Part, State
from gapless.fleet.play import Order
from gapless.fleet.rollout import Change, Rollout


def deploy(fleet: Fleet, artifact: Path, by: str, options: Sequence[str], observer: Observer) -> Rollout:
    """Plan the deploy of `artifact`, which is there when it runs, with `options` of `gapless deploy` on each host."""
    once = len(fleet.hosts) > 1 and bool(fleet.config.release.migrate) and fleet.config.fleet.migrate == "once"
    already = ["--without-migration"] if once else []

    def order(_part: Part, more: Sequence[str]) -> Order:
        return Order(fleet.argv("deploy", "-", *options, *already, *more), artifact)

    def migrate(_part: Part, more: Sequence[str]) -> Order:
        return Order(fleet.argv("deploy", "-", "--migrate-only", *more), artifact)

    change = Change("deploy", by, order, State.DEPLOYING, State.DEPLOYED, migrate if once else None)
    return Rollout(fleet, fleet.in_waves(fleet.config.hosts.waves), change, observer)
