"""What killed commands left behind: it takes space, and an instance may even serve."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from gapless.doctor.finding import Finding, Severity
from gapless.errors import GaplessError
from gapless.home import Home
from gapless.release.store import INCOMING, REMOVING
from gapless.release.unconfirmed import Unconfirmed
from gapless.switch.app import Unneeded
from gapless.switch.manager import Companion, Instance, Role

SHOWN = 3  # paths that a message names


def commit(file: Path, named: str | None, current: str | None) -> Finding:
    """Whether the commit file names the current release."""
    if named == current:
        return Finding(
            "commit", Severity.OK, f"{file} names {named}" if named else "there is none before the first release"
        )
    was = f"names {named}, which is gone" if named else "names no release"
    what = f"{file} {was}, though {current} serves or served last: a boot would start nothing"
    return Finding(
        "commit", Severity.FAILED, what, "gapless prune"
    )  # as each command that changes something, it writes it


def beside(shared: Path, directories: Sequence[str]) -> Finding:
    """Whether the `directories` in `shared` are there that the current release counts on. Raises OSError."""
    gone = [name for name in directories if not (shared / name).is_dir()]
    if not gone:
        return Finding("beside", Severity.OK, f"what the current release has beside its code is in {shared}")
    what = f"the current release finds nothing beside its code: there is no {', '.join(gone)} in {shared}"
    return Finding("beside", Severity.FAILED, what, "gapless prune")


def assets(public: Path, missing: Sequence[str]) -> Finding:
    """Whether the tree `public` has every public file of the current release."""
    if not missing:
        return Finding("assets", Severity.OK, f"the current release's are all in {public}")
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    what = f"pages miss files that are not in {public}, or differ: {', '.join(sorted(missing)[:SHOWN])}{more}"
    return Finding("assets", Severity.FAILED, what, "gapless prune")


def current_release(home: Home, current: str) -> Finding:
    """Whether all is there from which the `current` release would be started again."""
    directory = home.releases / current
    what = ""
    if not directory.is_dir():
        what = f"{directory} is gone: {current} could not be started again, after a crash or a boot"
    else:
        try:
            home.config(current)
        except GaplessError as error:
            what = error.cause
    if what:
        return Finding("current release", Severity.FAILED, what, "gapless deploy")
    return Finding("current release", Severity.OK, f"{current} is whole")


def ledger(unknown: Sequence[str]) -> Finding:
    """Judge whether the ledger tells of each release that is there; `unknown` are those of which it does not."""
    if not unknown:
        return Finding("ledger", Severity.OK, "it tells of every release")
    what = f"the ledger was lost or damaged: it does not tell of {', '.join(unknown[:SHOWN])}"
    return Finding("ledger", Severity.WARNING, what, "gapless prune")  # as each command that changes something


def instances(running: Sequence[Instance]) -> Finding:
    """Judge the instances that are neither live nor retiring, while no deploy is under way."""
    left = [one for one in running if one.role is Role.CANDIDATE]
    if not left:
        return Finding("instances", Severity.OK, "every instance is live or retiring")
    if any(one.ready for one in left) and not any(one.ready for one in running if one.role is Role.LIVE):
        what = f"{', '.join(one.id for one in left)} serves in the place of the current release, which does not"
        return Finding(
            "instances", Severity.FAILED, what, "`gapless logs` says why it does not; `gapless deploy` mends both"
        )
    what = f"{', '.join(one.id for one in left)} should not run: an ended deploy left it, and it may serve"
    return Finding("instances", Severity.FAILED, what, "`gapless prune` ends it")


def unconfirmed(waits: Unconfirmed, *, lasts: bool) -> Finding:
    """Judge a release that waits to be confirmed: once its time does not last any more, somebody should have acted."""
    if lasts:
        return Finding("unconfirmed", Severity.WARNING, str(waits), "`gapless confirm` keeps it")
    what = f"{waits.release} was not confirmed, and {waits.previous} does not serve again by itself"
    return Finding("unconfirmed", Severity.FAILED, what, "`gapless prune` turns back; `gapless confirm` keeps it")


def companions(found: Sequence[Companion], own: str) -> Finding:
    """Judge the processes and timers; `own` is SystemdHome's."""
    bad = [one for one in found if one.trouble]
    if not bad:
        return Finding("processes", Severity.OK, "every process and timer of the current release is as it should be")
    first = bad[0]
    what = "; ".join(f"the {one.kind} {one.name} of {one.release} {one.trouble}" for one in bad)
    hint = f"`systemctl{own} reset-failed {first.unit}` forgets it; `journalctl{own} -u {first.unit}` says why"
    if first.kind == "process" and first.state != "failed":
        hint = f"`journalctl{own} -u {first.unit}` says why; `gapless rollback` goes back"
        return Finding("processes", Severity.FAILED, what, hint)
    return Finding("processes", Severity.WARNING, what, hint)


def unneeded(found: Unneeded) -> Finding:
    """Unit files of releases that are gone."""
    then = f" && {found.then}" if found.then else ""
    return _of("unit files", "unit files of releases that are gone", found.paths, then)


def halves(releases: Path) -> Finding:
    """Releases that were half installed or half removed, in the directory `releases`."""
    paths = [path for prefix in (INCOMING, REMOVING) for path in sorted(releases.glob(f"{prefix}*"))]
    found = _of("releases", "half-installed or half-removed releases", paths)
    return Finding(found.name, found.state, found.what, "`gapless prune` removes them") if paths else found


def temporaries(home: Home) -> Finding:
    """Files that were to be renamed into place; those in directories that only root may read are seen by root."""
    patterns = home.temporaries
    paths = home.half_made + [path for where, pattern in patterns for path in sorted(where.glob(pattern))]
    unseen = [str(one) for one, _ in patterns if one.exists() and not os.access(one, os.R_OK | os.X_OK)]
    if unseen and not paths:
        return Finding("temporaries", Severity.UNKNOWN, f"{', '.join(unseen)} cannot be read", "run it as root")
    return _of("temporaries", "temporary files", paths)


def _of(name: str, kind: str, paths: Sequence[Path], then: str = "") -> Finding:
    if not paths:
        return Finding(name, Severity.OK, f"there are no {kind}")
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    what = f"there are {kind}: {', '.join(map(str, paths[:SHOWN]))}{more}"
    return Finding(name, Severity.WARNING, what, f"rm -r {shlex.join(map(str, paths))}{then}")
