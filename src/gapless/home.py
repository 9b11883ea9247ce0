"""Where an app keeps what it has, and the link that names its current release.

Under the embedded manager that is `.gapless` in its project, under systemd /srv/NAME. Every path in it is spelled here.
"""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

from gapless import config as configuration
from gapless.config.settings import Config, Sandbox
from gapless.errors import GaplessError

EMBEDDED = ".gapless"  # in the project's directory


class Home:
    """The directory `root` and the paths inside; nothing is made or read before it is asked for.

    `owner` is the user that the app runs as, `builder` the one that its builds run as, who owns the caches and
    unsealed releases; both are "" where that is whoever deploys it.
    """

    owner = ""
    builder = ""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._configs: dict[str, Config] = {}

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def shared(self) -> Path:
        """The app's own data: no release, no prune touches it."""
        return self.root / "shared"

    @property
    def cache(self) -> Path:
        """The home of the account that builds run as, if they have one: what one build downloads, the next finds."""
        return self.root / "cache"

    @property
    def log(self) -> Path:
        """What builds, migrations and, under the embedded manager, instances wrote."""
        return self.root / "log"

    def log_of(self, release: str) -> Path:
        """The log file of `release`, which may be gone; raises GaplessError when the name is not one of a release."""
        if not _is_name(release):
            cause = "that is a path, not the name of a release"
            raise GaplessError("find", f"the log of {release!r}", cause, "`gapless releases` lists them", status=2)
        return self.log / f"{release}.log"

    @property
    def env(self) -> Path:
        """The variables of each release."""
        return self.root / "env"

    @property
    def secrets(self) -> Path:
        """A directory for each release that has secrets."""
        return self.root / "secrets"

    @property
    def assets(self) -> Path:
        """The public files of releases, and which of them has which."""
        return self.root / "assets"

    @property
    def public(self) -> Path:
        """The tree of public files, as URLs name them: of the current release, and of those before."""
        return self.assets / "files"

    @property
    def uploads(self) -> Path:
        """What a proxy sees of the directories that visitors may read, as URLs name them."""
        return self.root / "uploads"

    @property
    def reports(self) -> Path:
        """What probes saw of switchovers."""
        return self.root / "reports"

    @property
    def ledger(self) -> Path:
        """Every deploy and rollback."""
        return self.root / "ledger.jsonl"

    @property
    def lock(self) -> Path:
        """The file that a deployer locks, and nobody writes."""
        return self.root / "lock"

    @property
    def holder(self) -> Path:
        """Who holds the lock, for everybody to read."""
        return self.root / "holder.json"

    @property
    def identity(self) -> Path:
        """The `id` of the project that the app is of, where that has one."""
        return self.root / "id"

    @property
    def migration(self) -> Path:
        """What a migration keeps locked, should its deployer be killed."""
        return self.root / "migration.lock"

    @property
    def hold(self) -> Path:
        """The manual hold."""
        return self.root / "hold.json"

    @property
    def hold_lock(self) -> Path:
        """What is locked while somebody changes the hold."""
        return self.root / "hold.lock"

    @property
    def pause(self) -> Path:
        """The pause, as long as there is one."""
        return self.root / "pause.json"

    @property
    def unconfirmed(self) -> Path:
        """The release that waits to be confirmed, as long as there is one."""
        return self.root / "unconfirmed.json"

    @property
    def turn_back(self) -> Path:
        """Somebody's wish that a release that is watched be turned back."""
        return self.root / "turn-back"

    @property
    def link(self) -> Path:
        """The link to the current release: the commit itself under the embedded manager, under systemd for people."""
        return self.root / "current"

    @property
    def half_made(self) -> list[Path]:
        """What was to be renamed to the link by somebody who was killed."""
        return sorted(self.root.glob("current.new*"))  # with a star: else glob() does not see a link to nowhere

    @property
    def closed(self) -> tuple[Path, ...]:
        """The directories that other users have no business in."""
        return self.log, self.env, self.secrets, self.reports

    @property
    def kept(self) -> tuple[Path, ...]:
        """What outlives `gapless down`."""
        return self.shared, self.ledger, self.identity

    @property
    def is_foreign(self) -> bool:
        """Whether there is a directory that is not gapless's: neither used nor, for a moment, only locked."""
        ours = any(path.exists() for path in (self.releases, *self.kept))
        locked = {self.lock, self.holder, self.holder.with_suffix(".new")}
        return self.root.exists() and not ours and not {*self.root.iterdir()} <= locked

    def release(self, release: str) -> Path:
        """The directory of `release`; raises GaplessError when there is none or the name is not one of a release."""
        directory = self.releases / release
        if not _is_name(release) or not directory.is_dir():
            hint = f"releases are the directories in {self.releases}"
            raise GaplessError("find", f"the release {release!r}", f"there is no directory {directory}", hint)
        return directory

    def settings(self, release: str) -> Path:
        """The copy of the gapless.toml of `release`, made before its build ran: nobody but the deployer writes it."""
        return self.env / f"{release}.toml"

    def content(self, release: str) -> Path:
        """The digest of what `release` was made of, before its build: whether a source is the same shows by it."""
        return self.env / f"{release}.content"

    def config(self, release: str) -> Config:
        """Read the configuration of `release` from its copy, once: a release does not change. Raises GaplessError.

        Releases that an older gapless made have none, and what the app's user can write decides nothing. A release
        whose directory somebody removed may still serve: its copy is enough.
        """
        if release not in self._configs:
            copy = self.settings(release)
            there = _is_name(release) and copy.exists()
            if not there and self.release(release) and self.owner:
                cause = f"there is no copy of its {configuration.FILE}, and {self.owner} can write the one in it"
                raise GaplessError("configure", release, cause, "`sudo gapless up` makes one of what is in it now")
            try:
                self._configs[release] = configuration.read(
                    copy if there else self.releases / release / configuration.FILE
                )
            except GaplessError as error:
                cause = f"its settings are damaged: {error}"
                hint = "`gapless deploy` makes a release with settings of its own; `gapless releases` lists the others"
                raise GaplessError("configure", release, cause, hint) from error
        return self._configs[release]

    def sandbox(self, release: str) -> Sandbox | None:  # noqa: ARG002 -- where systemd runs no release
        """What `release` may do on the host; None where nothing confines it, or it is not known any more."""
        return None

    def of_unit(self, unit: str) -> str:  # noqa: ARG002 -- where systemd runs no release
        """The release that a unit of systemd is of; "" of any other unit."""
        return ""

    @property
    def temporaries(self) -> list[tuple[Path, str]]:
        """Where files are made that are then renamed, each directory with a pattern of their passing names."""
        return [
            (self.env, ".*-*"),
            (self.secrets, ".*-*"),
            (self.log, ".*.log.new"),
            (self.assets, ".new"),
            (self.root, ".*.json.gapless-*"),
        ]

    def current(self) -> str | None:
        """The release that the commit file names, or None before the first commit."""
        try:
            return self.link.readlink().name
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:  # it is no link: somebody's file
                return None
            raise

    def point(self, release: str) -> None:
        """Name `release` as the current one: one rename(2), durable when this returns.

        Raises GaplessError when there is no such release, OSError when the disk refuses; then nothing changed.
        """
        self.release(release)
        directory = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        # Two that point at once each have a name of their own. No lock: everybody can open, and so lock, the directory.
        fresh = self.root / f"current.new-{uuid.uuid4().hex}"
        try:
            fresh.symlink_to(Path(self.releases.name) / release)
            os.fsync(directory)
            fresh.rename(self.link)
            os.fsync(directory)
        finally:
            os.close(directory)
            fresh.unlink(missing_ok=True)


def _is_name(release: str) -> bool:
    """Whether `release` can be the name of one: it leads to no other directory."""
    return "\0" not in release and release not in {"", ".", ".."} and Path(release).name == release
