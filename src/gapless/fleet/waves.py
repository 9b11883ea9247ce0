"""Waves: which hosts get a release first, which next to them, and when all the others."""

from __future__ import annotations

import re
from collections.abc import Sequence


def plan(hosts: Sequence[str], waves: Sequence[int | str]) -> list[list[str]]:
    """The hosts in their order, each in one wave: after a wave, as many hosts as it says are done, or that share.

    A share such as "10%" is rounded down; a wave that would add nothing is left out, and what the last one leaves is
    a wave of its own. Raises ValueError with a sentence for people.
    """
    planned, done = list[list[str]](), 0
    for up_to in (*(_size(wave, len(hosts)) for wave in waves), len(hosts)):
        if not done and hosts:
            up_to = max(up_to, 1)  # there is a first wave, however small a share of few hosts is
        if up_to > done:
            planned.append(list(hosts[done:up_to]))
            done = up_to
    return planned


def _size(wave: int | str, hosts: int) -> int:
    """How many of so many hosts are done after the wave."""
    if isinstance(wave, int) and not isinstance(wave, bool) and wave >= 1:
        return min(wave, hosts)
    share = re.fullmatch(r"([0-9]{1,3})%", wave) if isinstance(wave, str) else None
    if share is None or not 1 <= int(share[1]) <= 100:
        raise ValueError(f'{wave!r} is no wave; write how many hosts are done after it, or which share: 1 or "10%"')
    return hosts * int(share[1]) // 100
