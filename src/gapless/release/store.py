"""The releases on disk: each appears complete under its own name, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gapless import environment
from gapless.home import Home
from gapless.linux.disk import refusal
from gapless.linux.files import not_too_deep, remove_tree

INCOMING = ".incoming-"
REMOVING = ".removing-"
STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Store:
    """The directory `home`; nothing is made in it before the first release is added."""

    home: Path

    @property
    def releases(self) -> Path:
        return Home(self.home).releases

    @property
    def shared(self) -> Path:
        """The app's own data: no release, no prune touches it."""
        return Home(self.home).shared

    def path(self, release: str) -> Path:
        return self.releases / release

    def log(self, release: str) -> Path:
        """What the release's build, migration and instances wrote."""
        return Home(self.home).log_of(release)

    def report(self, release: str) -> Path:
        """What a probe saw of the release's switchover."""
        return Home(self.home).reports / f"{release}.html"

    def exists(self, release: str) -> bool:
        return release in self.names()

    def names(self) -> list[str]:
        """Every complete release, oldest first. Raises GaplessError."""
        try:
            return sorted(entry.name for entry in self.releases.iterdir() if not entry.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise refusal("list", "the releases", error) from error

    def linked(self) -> str | None:
        """The name in the link `current`, which follows the commit; None where there is no such link."""
        link = Home(self.home).link
        return link.readlink().name if link.is_symlink() else None

    def new_name(self, now: float, short: str) -> str:
        """`<UTC time>-<short>`, later in order than the releases there are.

        Where the second `now` (Unix time) has one already, or the clock was set back, a number follows the time of the
        newest: no name is of a second that has not come yet.
        """
        stamp = f"{datetime.fromtimestamp(now, UTC):{STAMP}}"
        newest = max((name.partition("-")[0] for name in self.names() if made(name) is not None), default="")
        return f"{stamp if stamp > newest else _after(newest)}-{short}"

    def prepare(self) -> None:
        """Make the directories that a release needs around it. Raises GaplessError."""
        try:
            self.releases.mkdir(parents=True, exist_ok=True)
            self.shared.mkdir(mode=0o750, exist_ok=True)
            for directory in (Home(self.home).log, Home(self.home).reports):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise refusal("prepare", str(self.home), error) from error

    def add(self, release: str, fill: Callable[[Path], None]) -> Path:
        """Add what `fill` puts into the directory it is given; returns the release's path.

        When it fails, nothing is visible, and what is left on disk is for `clean`. Raises GaplessError.
        """
        self.prepare()
        incoming = self.releases / (INCOMING + release)
        try:
            incoming.mkdir(mode=0o700)  # nobody is to run, or link to, what is not complete
            with not_too_deep("add", f"release {release}"):
                fill(incoming)
            incoming.chmod(0o755)
            incoming.rename(self.path(release))  # made durable before the commit names it: see switching
        except BaseException as error:
            with contextlib.suppress(OSError):  # the first error counts; `clean` removes the rest
                remove_tree(incoming)
            if isinstance(error, OSError):
                raise refusal("add", f"release {release}", error) from error
            raise
        return self.path(release)

    def remove(self, release: str, in_use: Callable[[], Collection[str]] = tuple) -> bool:
        """Remove a release, its environment, its log and its report; already gone is no error.

        False where it is `in_use` once nobody can begin to use it, by its own name or its passing one: then it stays.
        Raises GaplessError.
        """
        removing = self.releases / (REMOVING + release)
        try:
            with contextlib.suppress(FileNotFoundError):
                self.path(release).rename(removing)
                if {release, removing.name} & {*in_use()}:
                    removing.rename(self.path(release))
                    return False
            environment.forget(self.home, release)  # killed before the rest, `clean` does it again
            remove_tree(removing)
            log = self.log(release)
            for path in (log, log.with_name(f"{release}.log.1"), self.report(release)):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise refusal("remove", f"release {release}", error) from error
        return True

    def forget(self, before: float, but: Collection[str | None]) -> None:
        """Remove logs and reports that were last written before that time (Unix), but those of the releases `but`.

        Raises GaplessError for the first that cannot be removed, once the others are.
        """
        home, failed = Home(self.home), []
        for path in (*home.log.glob("[!.]*"), *home.reports.glob("[!.]*")):
            try:
                if path.name.partition(".")[0] not in but and path.lstat().st_mtime < before:
                    path.unlink(missing_ok=True)
            except OSError as error:
                failed.append(refusal("remove", str(path), error))
        if failed:
            raise failed[0]

    def traces(self) -> list[str]:
        """Name the releases that somebody removed by hand: what they ran with, or their logs, are still there."""
        home, present = Home(self.home), {*self.names()}
        kept = [path for where in (home.env, home.secrets, home.log, home.reports) for path in where.glob("[!.]*")]
        names = {path.name.partition(".")[0] for path in kept}
        return sorted(name for name in names - present if made(name) is not None)

    def clean(self) -> list[str]:
        """Delete what a killed command left half-added, half-removed or not yet current; returns its names.

        Only under the deploy lock: what another deployer is about to rename looks the same. Raises GaplessError.
        """
        left = []
        for prefix in (INCOMING, REMOVING):
            for path in sorted(self.releases.glob(f"{prefix}*")):
                try:
                    environment.forget(self.home, path.name.removeprefix(prefix))
                    remove_tree(path)
                except OSError as error:
                    raise refusal("remove", str(path), error) from error
                left.append(path.name)
        for path in Home(self.home).half_made:
            try:
                path.unlink()
            except OSError as error:
                raise refusal("remove", str(path), error) from error
            left.append(path.name)
        return left


def made(release: str) -> float | None:
    """The Unix time in a release's name; None where somebody else chose the name."""
    time, zone, number = release.partition("-")[0].partition("Z")
    if number and not number.isdecimal():
        return None
    try:
        return datetime.strptime(f"{time}{zone}+0000", f"{STAMP}%z").timestamp()
    except ValueError:
        return None


def _after(stamp: str) -> str:
    """The least time with a number that sorts after `stamp`: …Z, …Z1, … …Z9, …Z91; in a name `-` follows, before 1."""
    return f"{stamp}1" if stamp[-1] in "Z9" else f"{stamp[:-1]}{int(stamp[-1]) + 1}"
