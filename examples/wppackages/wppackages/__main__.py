"""python -m wppackages VERB: what is done beside serving, by hand or by timers."""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from wppackages import catalogue, refresh, settings, static
from wppackages.builds import Builds
from wppackages.settings import Failure, Settings
from wppackages.upstream import Unavailable, Upstream

Options = argparse.Namespace


def migrate(to: Settings, _options: Options) -> str:
    """Bring the database up to this release, and make its first build. The release before it goes on beside it."""
    taken = catalogue.migrate(to.database)
    builds = Builds(to)
    first = "" if builds.whole() else f"; first build: {builds.make().name}"
    return (f"took the steps {', '.join(map(str, taken))}" if taken else "already up to date") + first


def discover(to: Settings, options: Options) -> str:
    """Find out which packages changed. With --whole, also which are listed no more."""
    with contextlib.closing(catalogue.connect(to.database)) as database:
        return f"{refresh.discover(database, Upstream(to.upstream), options.whole)} packages to look at"


def update(to: Settings, options: Options) -> str:
    """Ask for the packages that may have changed."""
    asked, changed, failed = 0, 0, list[Unavailable]()
    with contextlib.closing(catalogue.connect(to.database)) as database:
        for _, outcome in refresh.update(database, to, options.limit):
            asked += 1
            if isinstance(outcome, Unavailable):
                failed.append(outcome)
            else:
                changed += outcome
    said = f"{asked} packages looked at, {changed} changed"
    if failed:
        raise Failure(f"{said}, {len(failed)} stay due: {failed[0]}")
    return said


def build(to: Settings, options: Options) -> str:
    """Publish what the catalogue has: what changed, or with --full everything anew."""
    made = Builds(to).make(options.full)
    if not made.fresh:
        return f"already built: {made.name}"
    return f"built {made.name}: {made.changed} documents changed, in {made.seconds:.2f} s"


def rollback(to: Settings, options: Options) -> str:
    """Publish an older build again, and hold it: `build` does nothing until `resume`."""
    made = Builds(to).back(options.build)
    return f"went back: {made.name} has {made.changed} documents others than before; `resume` ends the hold"


def resume(to: Settings, _options: Options) -> str:
    """End the hold of a rollback: the next build is of the catalogue again."""
    return "builds go on" if Builds(to).resume() else "already: nothing is held"


def builds(to: Settings, _options: Options) -> str:
    """List the builds that are kept; the current one has a star."""
    found = Builds(to)
    current = found.current()
    return "\n".join(f"{'*' if current and name == current.name else ' '} {name}" for name in found.kept())


def assets(_to: Settings, options: Options) -> str:
    """Write the files that pages refer to into a directory, for a server in front."""
    return "\n".join(static.write(options.directory))


def parser() -> argparse.ArgumentParser:
    """Make the parser: a verb for each function, its docstring is the help."""
    whole = argparse.ArgumentParser(prog="python -m wppackages", description=__doc__)
    verbs = whole.add_subparsers(required=True, metavar="VERB")

    def verb(function: Callable[[Settings, Options], str]) -> argparse.ArgumentParser:
        added = verbs.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        added.set_defaults(verb=function)
        return added

    verb(migrate)
    verb(discover).add_argument("--whole", action="store_true", help="read the listings to their ends")
    verb(update).add_argument("--limit", type=int, default=5000, help="packages at most (5000)")
    verb(build).add_argument("--full", action="store_true", help="everything, not only what changed")
    verb(rollback).add_argument("build", nargs="?", default="", help="by default the one before the current one")
    verb(resume)
    verb(builds)
    verb(assets).add_argument("directory", type=Path)
    return whole


def main(argv: Sequence[str], to: Settings) -> int:
    """Do what the command line says; the exit status."""
    options = parser().parse_args(argv)
    try:
        print(options.verb(to, options))
    except (Failure, sqlite3.Error) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], settings.from_environment()))
