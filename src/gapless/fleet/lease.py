"""A lease over all hosts: each host has its own, and what names them all is one token."""

from __future__ import annotations

from collections.abc import Sequence

from gapless.errors import GaplessError
from gapless.fleet.commands import Said, ask, understood, worst
from gapless.fleet.hosts import Host
from gapless.fleet.parts import Fleet
from gapless.fleet.play import Play

GIVEN_BACK = {"locked": False, "changed": False, "token": None, "until": None}


def acquire(fleet: Fleet, options: Sequence[str]) -> list[Said]:
    """Have every host take a lease with `options` of `gapless lock acquire`, or none.

    The first host is asked first: of two who begin, one gets all. What was taken in vain is given back. Raises
    GaplessError where Ansible does not do its part.
    """
    first, others = [*fleet.hosts[:1]], [*fleet.hosts[1:]]
    argv = fleet.argv("lock acquire", *options)
    with Play([one for one in (first, others, [*fleet.hosts]) if one]) as play:
        said = understood(ask(play, dict.fromkeys(first, argv)))
        if others:
            there = [] if worst(one.error for one in said) else others
            said += understood(ask(play, dict.fromkeys(there, argv)))
        taken = {one.host: str(one.document["token"]) for one in said if not one.error}
        vain = {} if len(taken) == len(fleet.hosts) else taken
        ask(play, {host: release(fleet, token) for host, token in vain.items()})
    return [Said(one.host, GIVEN_BACK, None, one.warnings) if one.host in vain else one for one in said]


def release(fleet: Fleet, token: str) -> list[str]:
    """The command of a host that gives back its own lease."""
    return fleet.argv("lock release", "--lease", token)


def joined(said: Sequence[Said]) -> str:
    """The token of what all hosts took."""
    return ",".join(f"{one.host.name}={one.document['token']}" for one in said)


def tokens(fleet: Fleet, token: str) -> dict[Host, str]:
    """The token of each host, out of that of all. Raises GaplessError (status 2)."""
    found = dict(one.rpartition("=")[::2] for one in token.split(","))
    if missing := [host.name for host in fleet.hosts if host.name not in found]:
        cause = f"it is none of {', '.join(missing)}"
        hint = "pass what `gapless lock acquire --for` printed, or name the hosts of that lease with -H"
        raise GaplessError("read", "the token of the lease", cause, hint, status=2)
    return {host: found[host.name] for host in fleet.hosts}
