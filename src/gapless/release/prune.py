"""Which old releases go: never the current one, the one to roll back to, or one of which anything still runs."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from functools import partial

from gapless.errors import GaplessError
from gapless.release import unconfirmed
from gapless.release.attempt import Target
from gapless.release.ledger import Ledger

OLDEST = 400 * 86400.0  # seconds that logs, reports and the ledger's records are kept: a year, and a while to look


def remove_old(target: Target, keep: int, but: str = "") -> list[str]:
    """Remove the releases that `superfluous` names, and what is left of those that are gone; returns both. `but` stays.

    What is told of those that stay has a limit of its own, OLDEST. Raises GaplessError for the first that cannot be
    removed, once the others are.
    """
    store, ledger, manager = target.store, target.ledger, target.manager
    gone, failed = [], []
    current, in_use = manager.current(), {*manager.in_use(), but}
    if waits := unconfirmed.read(target.home.root):
        in_use |= {waits.release, waits.previous}
    old = superfluous(ledger, store.names(), current, in_use, keep)
    for release in [*old, *(one for one in store.traces() if one not in {current, *in_use})]:
        try:
            if store.remove(release, manager.in_use):
                gone.append(release)
        except GaplessError as error:
            failed.append(error)
    manager.tidy()
    before = target.clock.now() - OLDEST
    for forget in (partial(store.forget, before, {current, *in_use}), partial(ledger.shorten, store.names(), before)):
        try:
            forget()
        except GaplessError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return gone


def superfluous(
    ledger: Ledger, present: list[str], current: str | None, in_use: Collection[str], keep: int
) -> list[str]:
    """Name the releases of `present` that nobody needs: beyond the newest `keep` good ones, or failed; oldest first."""
    deploys = ledger.deploys()
    good = [release for release in present if release not in deploys or not deploys[release].bad]
    needed = {*good[-keep:], *in_use, current}
    with contextlib.suppress(GaplessError):  # there is none to keep
        needed.add(ledger.rollback_target(current, present))
    return [release for release in present if release not in needed]
