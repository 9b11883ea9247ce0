"""A rollback of many hosts: to a release that all of them have, and not each to whatever it had before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gapless.errors import GaplessError
from gapless.fleet.hosts import Host
from gapless.fleet.parts import Fleet, Observer, Part, State
from gapless.fleet.play import Order
from gapless.fleet.rollout import Change, Rollout

SHORTEST = 7  # characters of an id
LIST = "`gapless releases` on each host lists what it has"


def target(name: str, found: Mapping[Host, dict[str, Any]], wanted: str | None) -> dict[Host, str]:
    """Choose the release of each host to go back to, by what `gapless releases` says there: they are made of the same.

    `wanted` is one of some host's releases, or its id; without it, that is the newest which all hosts have before their
    current ones, and which is another one than all have now. Raises GaplessError.
    """
    had = {host: good(document, older=wanted is None) for host, document in found.items()}
    now = {_content(one) for document in found.values() for one in document["releases"] if one["state"] == "current"}
    everywhere = [one for document in found.values() for one in document["releases"]]
    contents = [_content(one) for one in everywhere if (_is(one, wanted) if wanted else {_content(one)} != now)]
    for content in contents:
        if all(content in releases for releases in had.values()):
            return {host: releases[content] for host, releases in had.items()}
    if wanted is None:
        cause = "there is no good release that all hosts had before their current ones"
        hint = "deploy an older revision: `gapless deploy REVISION`; or go back on one host alone, with -H"
        raise GaplessError("roll back", name, cause, hint)
    missing = [host.name for host, releases in had.items() if not {*contents} & {*releases}]
    cause = f"there is no good one on {', '.join(missing)}" if contents else "no host has it"
    raise GaplessError("roll back to", wanted, cause, LIST)


def roll_back(
    fleet: Fleet,
    parts: Sequence[Part],
    to: Mapping[Host, str],
    by: str,
    options: Sequence[str],
    observer: Observer,
) -> Rollout:
    """Plan that each host of `parts` goes back to its release, all side by side."""

    def order(part: Part, more: Sequence[str]) -> Order:
        return Order(fleet.argv("rollback", to[part.host], "--yes", *options, *more))

    return Rollout(fleet, [parts], Change("rollback", by, order, State.ROLLING_BACK, State.ROLLED_BACK), observer)


def good(document: dict[str, Any], *, older: bool) -> dict[str, str]:
    """The newest good release of each content, as `gapless releases` has them; only those before the current."""
    found = dict[str, str]()
    seen = not older
    for one in document["releases"]:
        if seen and one["state"] != "bad":
            found.setdefault(_content(one), one["release"])
        seen |= one["state"] == "current"
    return found


def _content(release: dict[str, Any]) -> str:
    """What a release was made of; by its revision, where an older gapless made it."""
    return str(release["id"] or release["revision"])


def _is(release: dict[str, Any], wanted: str) -> bool:
    return release["release"] == wanted or (len(wanted) >= SHORTEST and str(release["id"] or "").startswith(wanted))
