"""The migration: with its deploy, or long before it, once for many hosts; then the release that it made waits."""

from __future__ import annotations

import enum
import tempfile
from collections.abc import Callable
from pathlib import Path

from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.linux.files import not_too_deep
from gapless.release import difference, making
from gapless.release.attempt import Attempt, Target
from gapless.release.commands import shell
from gapless.release.ledger import MIGRATION, Outcome
from gapless.release.lock import DeployLock
from gapless.release.sources import Source
from gapless.release.watch import Monitor, must_be_well
from gapless.switch.job import Jobs, Kind

BACK_UP, MIGRATE = "back up", "migrate"  # phases


class Migration(enum.Enum):
    """Whether a deploy migrates."""

    WITH = enum.auto()  # as [release] migrate says
    WITHOUT = enum.auto()  # another host did
    ONLY = enum.auto()  # it makes the release and migrates, and nothing is switched over


def migrate(
    target: Target, attempt: Attempt, config: Config, lock: DeployLock, jobs: Jobs, monitor: Monitor | None = None
) -> None:
    """Run the migration to the attempt's release, if it has one. Raises GaplessError."""
    if not config.release.migrate:
        return
    if target.backup and config.database.path:
        with attempt.phase(BACK_UP):
            attempt.backed_up(_back_up(target.backup, attempt.release, config))
    if monitor:
        monitor.enter(MIGRATE)
    with attempt.phase(MIGRATE):
        lock.name(phase=MIGRATE)
        attempt.run(jobs, Kind.MIGRATION, shell(config.release.migrate), config.release.timeout)
        lock.name(phase="")
    if monitor:
        must_be_well(monitor, attempt.release, f"the migration has run, and {attempt.previous} goes on serving")


def prepared(target: Target, project: Path, found: Source) -> str | None:
    """Find the release that was made of the same as `found`, and as it would be now, and waits since its migration.

    Raises GaplessError.
    """
    present = {*target.store.names()}
    done = (one for one in target.ledger.deploys().values() if one.verb == MIGRATION and one.to in present)
    waiting = [one.to for one in done if one.outcome is Outcome.SUCCEEDED]
    if not waiting:
        return None
    with tempfile.TemporaryDirectory(prefix="gapless-same-") as scratch, not_too_deep("read", str(project)):
        config, _, digest = making.unpack(target, found, Path(scratch))
    for release in sorted(waiting, reverse=True):
        if not difference.of_files(target, release, digest) and not difference.of_settings(
            target, release, config, project
        ):
            return release
    return None


def _back_up(backup: Callable[[Config], str], release: str, config: Config) -> str:
    try:
        return backup(config)
    except GaplessError as error:
        cause = f"what it changes would not be in the replica as it was: {error.cause}"
        hint = f"{error.hint or 'mend that'}; or migrate without: `gapless deploy --without-backup`"
        raise GaplessError("migrate to", release, cause, hint, details=error.details) from error
