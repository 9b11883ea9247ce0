"""What a command would do, in plain sentences, without doing any of it."""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gapless import environment, timeouts
from gapless.config.settings import Command, Config
from gapless.linux.files import not_too_deep
from gapless.release import difference, making, migrating, missing, recovery, sources
from gapless.release.attempt import Target
from gapless.release.deploy import pick
from gapless.release.migrating import Migration
from gapless.release.prune import superfluous
from gapless.release.watch import Watch


@dataclass(frozen=True)
class Preview:
    """The `steps` of a deploy, and the `changes`: what its release would have that the `current` one has not.

    `files` are those that come from the source, `left_out` what of the project does not, each with why; `warnings` name
    what the release would miss.
    """

    steps: list[str]
    current: str | None
    changes: list[str]
    files: list[str]
    left_out: dict[str, str]
    warnings: list[str]


def preview_deploy(
    target: Target,
    project: Path,
    source: str | sources.Source | None = None,
    watch: Watch | None = None,
    migration: Migration = Migration.WITH,
) -> Preview:
    """What `deploy` would do; the source is read and unpacked, elsewhere. Raises GaplessError, as `deploy` would."""
    found = making.find(target, project, source)
    with tempfile.TemporaryDirectory(prefix="gapless-plan-") as scratch, not_too_deep("read", str(project)):
        config, replaced, digest = making.unpack(target, found, Path(scratch))
        files = sorted(
            str(one.relative_to(scratch)) for one in Path(scratch).rglob("*") if one.is_symlink() or one.is_file()
        )
        left_out = found.left_out()
        warnings = missing.of(Path(scratch), config, project, lambda: left_out)
    environment.check(config, project, making.reader(target, project))
    current = recovery.current(target)
    waits = migrating.prepared(target, project, found)
    release = waits or target.store.new_name(target.clock.now(), found.short)
    plan = [f"Take release {release}, which is made of the same and waits since its migration."]
    if not waits:
        plan = [f"Install {found.what} ({found.revision}) as release {release}."]
        plan += [f"Link {path} in it to $GAPLESS_SHARED/{directory}." for path, directory in config.shared.items()]
        if config.build.run:
            plan.append(f"Build it within {config.build.timeout:g} s: {_shown(config.build.run)}")
    only = migration is Migration.ONLY
    if config.hooks.before_deploy and not only:
        plan.append(f"Run before_deploy within {config.hooks.timeout:g} s: {_shown(config.hooks.before_deploy)}")
    if config.release.migrate and migration is not Migration.WITHOUT:
        if target.backup and config.database.path:
            plan.append("Bring the replica of the database up to date, as a point to go back to.")
        plan.append(f"Migrate within {config.release.timeout:g} s: {_shown(config.release.migrate)}")
    if not only:
        plan += [f"Publish {directory} as {prefix}." for prefix, directory in config.assets.paths.items()]
        plan += _switch(release, current, config.check.timeout, watch)
        plan += _tell(config)
    in_use = {*target.manager.in_use(), release, *filter(None, [current])}
    present = sorted({*target.store.names(), release})
    for old in superfluous(target.ledger, present, current if only else release, in_use, config.release.keep):
        plan.append(f"Remove release {old}.")
    changes = [f"there is no release of {config.name} yet"]
    if current:
        changes = difference.of_files(target, current, digest)
        changes += difference.of_settings(target, current, config, project)
    left_out |= dict.fromkeys(config.kept_apart, "it is for one release alone, and kept apart")
    left_out |= dict.fromkeys(replaced, "$GAPLESS_SHARED takes its place ([shared])")
    return Preview(plan, current, changes, files, left_out, warnings)


def plan_rollback(target: Target, to: str | None = None, watch: Watch | None = None) -> list[str]:
    """The steps of `rollback`; none when that release is live already. Raises GaplessError, as `rollback` would."""
    current = recovery.current(target)
    release = pick(target, current, to)
    if release == current:
        return []
    config = target.home.config(release)
    return [*_switch(release, current, config.check.timeout, watch), *_tell(config)]


def _switch(release: str, current: str | None, timeout: float, watch: Watch | None) -> list[str]:
    plan = [f"Start {release} and wait at most {timeout + timeouts.DEPLOYER:g} s until it is proven."]
    if current is None:
        return [*plan, f"Make {release} the current release; it is the first."]
    if watch is None:
        return [*plan, f"Make {release} the current release instead of {current}, which then drains."]
    causes = ["it restarts", "its check fails", *([watch.monitor.promise] if watch.monitor else [])]
    plan = [
        *(["Probe the app for a second, and go on with that to the end."] if watch.monitor else []),
        *plan,
        f"Make {release} the current release instead of {current}, which then stands by for {watch.seconds:g} s.",
        f"Turn back to {current} if {', '.join(causes[:-1])} or {causes[-1]}; otherwise {current} then drains.",
    ]
    if watch.confirm is not None:
        plan[-1] = plan[-1].partition("; otherwise")[0] + "."
        plan.append(f"Turn back also if no `gapless confirm` comes within {watch.confirm:g} s; then {current} drains.")
    return plan


def _tell(config: Config) -> list[str]:
    plan = []
    if config.hooks.deployed:
        plan.append(f"Then run deployed within {config.hooks.timeout:g} s: {_shown(config.hooks.deployed)}")
    if config.notify.command:
        plan.append(f"Then run [notify] within {config.notify.timeout:g} s: {shlex.join(config.notify.argv)}")
    return plan


def _shown(command: Command) -> str:
    return command if isinstance(command, str) else shlex.join(command)
