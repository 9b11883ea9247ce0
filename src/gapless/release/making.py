"""How a release is made: installed, built and sealed, from what others may have prepared."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from gapless import destination as destinations
from gapless import environment, shared
from gapless.config import FILE
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.disk import refusal
from gapless.linux.files import not_too_deep
from gapless.release import content, missing, notifying, operators, persistent, recovery, sources
from gapless.release.attempt import Attempt, Target
from gapless.release.commands import shell
from gapless.release.compilation import compilation, compile_here
from gapless.release.owner import give
from gapless.release.pointers import some
from gapless.release.seal import seal, written_since
from gapless.release.stamps import settle
from gapless.switch.job import Jobs, Kind

OPTIMIZE = "PYTHONOPTIMIZE"  # with it a start looks for other files of compiled code
NAMED = 3  # files that a warning names
COMPILE_WITHIN = 300.0  # seconds


def find(target: Target, project: Path, source: str | sources.Source | None) -> sources.Source:
    """Find what `source` means (see `sources.find`), as the operator where there is one. Raises GaplessError."""
    if isinstance(source, sources.Source):
        return source
    if target.operator:
        return operators.find_as(target.operator, project, source)
    with not_too_deep("read", str(project)):
        return sources.find(project, source)


def unpack(target: Target, found: sources.Source, tree: Path) -> tuple[Config, list[str], str]:
    """Fill the empty `tree`, which is the caller's alone, with what a release is before its build.

    Its settings, the files in whose place it has a link into $GAPLESS_SHARED, and the digest of all that came from the
    source, on whichever host. A destination's settings and the project's become one gapless.toml.
    Raises GaplessError, OSError.
    """
    found.install(tree)
    sources.leave_out(tree, destinations.load(tree, target.destination).kept_apart)
    digest = content.digest(tree)
    if target.destination:
        laid, file = destinations.lay_over(tree, target.destination), tree / FILE
        file.unlink()  # it may be a link
        file.write_text(laid, "utf-8")
    config = destinations.load(tree)
    if not target.operator:  # his must be as the current release's, and he is told nothing of root's files
        notifying.must_be_ours(config.notify, target.home)
    return config, persistent.link(tree, config.shared), digest


def reader(target: Target, project: Path) -> Callable[[Path], bytes]:
    """Make what reads variables' and secrets' files in `project`, as the operator where there is one."""
    read = sources.reader_in(project)
    return operators.reading_as_operator(target.operator, read) if target.operator else read


def install(target: Target, project: Path, found: sources.Source, release: str) -> Config:
    """Put a release on disk, and take down what it runs with before anything of it runs; returns that.

    Raises GaplessError.
    """

    digest = ""

    def fill(tree: Path) -> None:
        nonlocal digest
        config, replaced, digest = unpack(target, found, tree)
        if replaced:
            target.observer.warning(f"{some(replaced)}: in the release $GAPLESS_SHARED takes the place ([shared])")
        for text in missing.of(tree, config, project, found.left_out):
            target.observer.warning(text)
        _settle(target, tree)

    directory = target.store.add(release, fill)
    environment.take_settings(target.home.root, release)
    environment.take_content(target.home.root, release, digest)
    config = target.home.config(release)
    if target.operator:
        current = recovery.current(target)
        operators.refuse_other_rights(config, target.home.config(current) if current else None)
    environment.fix(target.home.root, release, config, project, reader(target, project))
    if target.home.builder:
        directory.chmod(0o700)  # until it is sealed: what a build makes of it is for nobody else
        give(directory, target.home.builder)
    make_shared(target.home, config)
    return config


def make_shared(home: Home, config: Config) -> None:
    """Make the directories in $GAPLESS_SHARED that a release with these settings counts on. Raises GaplessError."""
    shared.make(home, (*config.shared.values(), *config.uploads.values()))


def build(target: Target, attempt: Attempt, config: Config, jobs: Jobs) -> None:
    """Run the build of the attempt's release, if it has one. Raises GaplessError."""
    if config.build.run:
        with attempt.phase("build"):
            attempt.run(jobs, Kind.BUILD, shell(config.build.run), config.build.timeout)
            try:
                _settle(target, target.store.path(attempt.release))
            except OSError as error:
                raise refusal("look through", f"release {attempt.release}", error) from error


def _settle(target: Target, tree: Path) -> None:
    """Let equal files keep the time stamps that they have in the current release: nobody fetches them again."""
    current = target.manager.current()
    settle(tree, target.store.path(current) if current else None, target.clock.now())


def finish(target: Target, attempt: Attempt, jobs: Jobs) -> None:
    """Let nobody write the release from now on: so what its interpreter would write at each start is written first.

    Raises GaplessError.
    """
    with attempt.phase("seal"), not_too_deep("seal", attempt.release):
        tree = target.store.path(attempt.release)
        compiling = compilation(tree)
        runs_with = environment.read(target.home.root, attempt.release)
        if compiling and compiling[0] == sys.executable and not target.jobs and OPTIMIZE not in runs_with:
            compile_here(tree)
        elif compiling:
            try:
                jobs.run(Kind.COMPILE, compiling, attempt.release, COMPILE_WITHIN)
            except GaplessError as error:  # it only starts slower
                target.observer.warning(str(error))
        seal(tree, owned=bool(target.home.builder))
        persistent.must_be_linked(tree, target.home.config(attempt.release).shared)
        settings = target.home.settings(attempt.release)
        try:
            own = tree / FILE
            if target.home.builder and own.is_file() and not own.is_symlink():  # a build may have put anything there
                own.chmod(0o600)  # [env] is nobody else's to read, and root has its copy
            settings.touch()  # when that was, for `warn_of_data`
        except OSError as error:
            raise refusal("seal", str(settings), error) from error


def warn_of_data(target: Target, current: str | None) -> None:
    """Say what the app keeps beside the code of the `current` release: the next release does not have that.

    Raises GaplessError.
    """
    sealed = target.home.settings(current or "")
    if target.home.builder or current is None or not sealed.exists():
        return  # nobody can write there, or nobody knows since when nobody should have
    if found := written_since(target.store.path(current), sealed.stat().st_mtime):
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        target.observer.warning(
            f"{', '.join(found[:NAMED])}{more} in {current} changed since it was built, and the next release does not"
            f" have that: what the app keeps belongs into $GAPLESS_SHARED ({target.home.shared}): `[shared]` links it"
        )
