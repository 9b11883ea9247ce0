"""The current release where the commit file is lost or damaged: what else we know tells of it, and it is named again.

Taken for "nothing was deployed", a lost file would make every server a stray, and the next command would end the only
one that answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Protocol

from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.release.attempt import Target
from gapless.release.holding import me
from gapless.release.ledger import FOUND, Finished, Ledger, Outcome
from gapless.release.store import Store
from gapless.switch.manager import Instance, Manager, Role


class Known(Protocol):
    """Whatever knows who runs an app's releases, where they are kept, and what was done with them."""

    @property
    def manager(self) -> Manager: ...
    @property
    def store(self) -> Store: ...
    @property
    def ledger(self) -> Ledger: ...


def current(app: Known) -> str | None:
    """The release that the commit file names or, where that file is no use, the one that all else tells of.

    That is the only one that serves, or the one that the ledger, or the link `current`, names. None when nothing was
    deployed yet. Raises GaplessError in doubt. Changes nothing.
    """
    named, present = app.manager.current(), app.store.names()
    if named in present:
        return named
    servers = [one for one in app.manager.instances() if one.ready and one.role is not Role.RETIRING]
    serving = {one.release for one in servers}
    if named in serving:  # somebody removed its directory: that is no damage to the commit
        return named
    if len(serving) == 1:
        return serving.pop()
    found = remembered(app.store, app.ledger, serving or present)
    if found is None and servers:
        each = " or ".join(f"`kill {one.pid}` ({one.release})" for one in servers)
        cause = f"{app.manager.commit} names none, nor does anything else, and {len(serving)} releases serve"
        raise GaplessError("tell", "the current release", cause, f"end what is not to stay, {each}, and repeat this")
    return found or named


def remembered(store: Store, ledger: Ledger, among: Collection[str]) -> str | None:
    """Find the one of the releases `among` that was current last, as the ledger or, in its place, the link says."""
    return next((one for one in (ledger.switched_to(), store.linked()) if one in among), None)


def seen(instances: Iterable[Instance], release: str | None) -> list[Instance]:
    """Mark the instance of `release` as live where the manager cannot, because its commit file is lost."""
    return [
        replace(one, role=Role.LIVE) if one.role is Role.CANDIDATE and one.ready and one.release == release else one
        for one in instances
    ]


def restore_ledger(target: Target) -> None:
    """Record again the releases that the ledger lost: they count as good ones. Only under the deploy lock.

    Raises GaplessError.
    """
    for release in target.ledger.unknown(target.store.names()):
        now = target.clock.now()
        attempt = target.ledger.start(FOUND, me(), now, None, release, release.partition("-")[2])
        target.ledger.append(Finished(attempt, now, Outcome.SUCCEEDED, ""))
        target.observer.warning(f"the ledger had lost {release}; now it is a good release again")


def restore(target: Target) -> None:
    """Rewrite a lost or damaged commit file with the current release, and warn. Only under the deploy lock.

    Raises GaplessError in doubt, and when the file cannot be written.
    """
    release, named = current(target), target.manager.current()
    if release is None or release == named:
        return
    try:
        target.manager.point(release)
    except OSError as error:
        raise refusal("write again", str(target.manager.commit), error) from error
    was = f"named {named}, which is gone" if named else "named no release"
    target.observer.warning(
        f"{target.manager.commit} {was}; now it names {release}, the one that serves or served last"
    )
