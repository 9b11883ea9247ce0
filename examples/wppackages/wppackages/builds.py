"""Make builds of the catalogue, publish one by a rename, keep some, go back to one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wppackages import catalogue
from wppackages.build import TABLES, Build
from wppackages.draft import Draft
from wppackages.settings import Failure, Settings

# Of tables and documents. A release that changes them counts it up, and has builds of its own beside those of the
# release before it, which goes on with what it knows.
FORMAT = 1


@dataclass(frozen=True)
class Made:
    """What became of a call: the build that is published now, and how many documents are others than before."""

    name: str
    changed: int
    seconds: float
    fresh: bool = True


class Builds:
    """The builds of one data directory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.data / "builds" / str(FORMAT)
        self._link = self.folder / "current"
        self._held = self.folder / "held"
        self._mine = threading.local()

    def current(self) -> Build | None:
        """The build that is published, open in this thread; None before the first one."""
        try:
            name = os.readlink(self._link)  # noqa: PTH115 -- each request does it
        except FileNotFoundError:
            return None
        mine: Build | None = getattr(self._mine, "build", None)
        if mine is None or f"{mine.name}.db" != name:
            if mine is not None:
                mine.close()
            self._mine.build = None
            mine = self._mine.build = Build(self.folder / name)
        return mine

    def whole(self) -> bool:
        """Whether there is a current build that can be read."""
        return self._readable() is not None

    def _readable(self) -> Build | None:
        try:
            return self.current()
        except Failure:
            return None  # damaged: the next one is made as if it were the first

    def kept(self) -> list[str]:
        """The names of all builds, the oldest first."""
        return sorted(path.stem for path in self.folder.glob("*.db"))

    def make(self, full: bool = False) -> Made:
        """Publish a build of the catalogue as it is: of what changed since the last one, or of everything.

        Raises Failure if the last one is held by a rollback, or another build is being made.
        """
        began = time.monotonic()
        with self._alone(), contextlib.closing(catalogue.connect(self._settings.database)) as database:
            if self._held.exists():
                raise Failure(
                    f"held at {self._held.read_text()} by a rollback: `python -m wppackages resume` ends that"
                )
            before = self._readable()
            meta = before.meta if before else {}
            full = full or before is None or meta["url"] != self._settings.url
            since = -1 if full else int(meta["revision"])
            database.execute("BEGIN")  # one state of it, however long we read
            revision = database.execute("SELECT coalesce(max(revision), 0) FROM package").fetchone()[0]
            if before and not full and since == revision:
                return Made(before.name, 0, time.monotonic() - began, fresh=False)
            with self._fresh(None if full else before) as (name, file):
                draft = Draft(file, before, self._settings)
                changed = draft.fill(database, since)
                draft.finish(revision)
            return Made(name, changed, time.monotonic() - began)

    def back(self, to: str = "") -> Made:
        """Publish an older build again, by default the one before the current one, and hold it: raises Failure.

        It becomes a new build with stamps that grow: what clients keep of the one that is taken back is outdated.
        """
        began = time.monotonic()
        with self._alone():
            now, kept = self.current(), self.kept()
            if self._held.exists() and not to:
                raise Failure(f"held at {self._held.read_text()} already: name the build to go back to")
            older = [name for name in kept if now and name < now.name]
            wanted = to or (older[-1] if older else "")
            if now is None or wanted not in kept:
                raise Failure(f"there is no build {wanted or 'before this one'}: there are {', '.join(kept) or 'none'}")
            old = Build(self.folder / f"{wanted}.db")
            with contextlib.closing(old), self._fresh(old) as (name, file):
                changed = Draft(file, now, self._settings).restamp()
                self._held.write_text(wanted)
            return Made(name, changed, time.monotonic() - began)

    def resume(self) -> bool:
        """End the hold of a rollback; whether there was one."""
        held = self._held.exists()
        self._held.unlink(missing_ok=True)
        return held

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Failure("another build is being made: wait for it") from None
            yield

    @contextlib.contextmanager
    def _fresh(self, start: Build | None) -> Iterator[tuple[str, sqlite3.Connection]]:
        """A new file, or a copy of `start`; published if nothing goes wrong inside."""
        name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        path, draft = self.folder / f"{name}.db", self.folder / "draft"
        draft.unlink(missing_ok=True)  # of somebody who was killed
        if start:
            shutil.copyfile(self.folder / f"{start.name}.db", draft)
        file = sqlite3.connect(draft, isolation_level=None)
        with contextlib.closing(file):
            # Nobody reads it before it is whole and on the disk.
            file.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536")
            if start is None:
                file.executescript(TABLES)
            file.execute("BEGIN")
            yield name, file
            file.execute("COMMIT")
        _sync(draft)
        draft.rename(path)
        link = self.folder / "current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        _sync(self.folder)
        link.rename(self._link)
        _sync(self.folder)
        for old in self.kept()[: -self._settings.keep]:  # whoever has it open keeps it
            (self.folder / f"{old}.db").unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
