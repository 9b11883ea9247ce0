"""The public files of releases, together in one tree: pages of every release find theirs, also when it is gone.

The tree has copies: a sealed release stays as it is, and who reads the tree finds no link that leads out of it. A list
for each release says which files it has there; the list's time stamp is when its release was last known to be current.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.disk import refusal
from gapless.linux.files import remove_tree, replace
from gapless.release import copying
from gapless.release.clock import CLOCK, Clock

LARGEST = 4 << 30  # bytes that releases which are gone may have in the tree
NEVER = 0.0  # the time stamp of a list whose release was not current yet


class Assets:
    """The public files of the app in `home`. Each method takes the deploy lock, and raises GaplessError."""

    def __init__(self, home: Home, clock: Clock = CLOCK) -> None:
        self._home = home
        self._now = clock.now

    def publish(self, release: str, paths: Mapping[str, str], current: str | None) -> list[str]:
        """Add the files of `release` in the directories `paths`, but for those that the `current` one has otherwise.

        Returns the links among them, by their names in the release: those are left out.
        """
        found, links = files_of(self._home.release(release), paths)
        try:
            theirs = {*self._listed(current)} if current != release else set()
            folders = {folder for name in theirs for folder in _folders(name)}
            self._list(release, found)
            self._touch(current)
            for public, name in found.items():
                if public not in theirs | folders and not theirs & {*_folders(public)}:
                    self._put(release, name, public)
        except OSError as error:
            raise refusal("publish the assets of", release, error) from error
        return links

    def adopt(self, current: str, paths: Mapping[str, str]) -> None:
        """Publish what the `current` release has of the directories `paths`, if it was made before there were such."""
        tree = self._home.releases / current
        if not (self._home.assets / f"{current}.json").exists():
            self.publish(current, {prefix: one for prefix, one in paths.items() if (tree / one).is_dir()}, current)

    def settle(self, current: str | None) -> None:
        """Let the files of the `current` release be those in the tree, wherever another one has the name, too."""
        if current is None:
            return
        try:
            self._touch(current)
            for public, name in self._listed(current).items():
                self._put(current, name, public)
        except OSError as error:
            raise refusal("publish the assets of", current, error) from error

    def expire(self, present: Collection[str], current: str | None, age: float) -> list[str]:
        """Remove the files of releases that are not `present` and were current longer than `age` seconds ago.

        Also those of the oldest where all such releases have too much together. Returns the releases.
        """
        try:
            self._touch(current)
            gone = {one.stem: one.stat().st_mtime for one in self._home.assets.glob("*.json")}
            old = sorted((one for one in gone if one not in {*present, current}), key=lambda one: -gone[one])
            wanted = {name for one in gone if one not in old for name in self._listed(one)}
            left, removed = LARGEST, []
            for release in old:
                names = self._listed(release).keys() - wanted
                left -= sum(map(self._size, names))
                if self._now() - gone[release] < age and left >= 0:
                    wanted |= names
                else:
                    removed.append(release)
                    for name in names:
                        self._remove(name)
                    (self._home.assets / f"{release}.json").unlink()
        except OSError as error:
            raise refusal("remove", f"old files in {self._home.assets}", error) from error
        return removed

    def missing(self, current: str) -> list[str]:
        """Name the files of the `current` release that the tree has not, or has otherwise."""
        tree, found = self._home.release(current), self._listed(current)
        return [public for public, name in found.items() if not _same(tree / name, self._home.public / public)]

    def _touch(self, current: str | None) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._home.assets / f"{current}.json", (self._now(), self._now()))

    def _list(self, release: str, found: Mapping[str, str]) -> None:
        """Write down the files of a release, before they come into the tree: so what is there is in a list."""
        path = self._home.assets / f"{release}.json"
        known = path.stat().st_mtime if path.exists() else NEVER
        replace(path, json.dumps(found))
        os.utime(path, (known, known))

    def _listed(self, release: str | None) -> dict[str, str]:
        """The files of a release: their names in it, by those in the tree. Only the deployer writes that."""
        try:
            found: dict[str, str] = json.loads((self._home.assets / f"{release}.json").read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def _size(self, public: str) -> int:
        with contextlib.suppress(FileNotFoundError):
            return (self._home.public / public).lstat().st_size
        return 0

    def _put(self, release: str, name: str, public: str) -> None:
        tree, path = self._home.releases / release, self._home.public / public
        if _same(tree / name, path):
            return
        fresh = self._home.assets / ".new"
        fresh.unlink(missing_ok=True)
        with copying.opened(tree, name) as file, fresh.open("xb") as output:
            found = os.fstat(file.fileno())
            shutil.copyfileobj(file, output, 1 << 20)
            output.flush()
            os.fchmod(output.fileno(), 0o644)
            os.utime(output.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
        for folder in reversed(_folders(public)):
            if (self._home.public / folder).is_file():  # another release's: now it is a directory
                (self._home.public / folder).unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            remove_tree(path)
        fresh.rename(path)

    def _remove(self, public: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            (self._home.public / public).unlink()
        for folder in _folders(public):
            with contextlib.suppress(OSError):  # it is not empty
                (self._home.public / folder).rmdir()


def files_of(tree: Path, paths: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The public files in the release `tree`, by their names in URLs, and the links, which are none.

    What begins with a dot is not public. Raises GaplessError for a directory that is not there, or over a link alone.
    """
    found: dict[str, str] = {}
    links: list[str] = []
    for prefix, directory in paths.items():
        for part in (directory, *_folders(directory)):
            kind = "a link" if (tree / part).is_symlink() else "" if (tree / part).is_dir() else "not there"
            if kind:
                hint = "have the build make that directory itself, or take it out of [assets]"
                raise GaplessError("publish", f"{directory} of {tree.name}", f"{part} is {kind}", hint)
        for folder, folders, files in os.walk(tree / directory):
            inside = Path(folder).relative_to(tree)
            public = PurePosixPath(prefix[1:]) / inside.relative_to(directory)
            links += [str(inside / name) for name in folders if Path(folder, name).is_symlink()]
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                kind_of = Path(folder, name).lstat().st_mode
                if stat.S_ISLNK(kind_of):
                    links.append(str(inside / name))
                elif stat.S_ISREG(kind_of) and not name.startswith("."):
                    found[str(public / name)] = str(inside / name)
    return found, sorted(links)


def _folders(name: str) -> list[str]:
    """The directories above a name, the nearest first."""
    return [str(one) for one in PurePosixPath(name).parents][:-1]


def _same(one: Path, other: Path) -> bool:
    """Whether two files have equal bytes and time stamps."""
    try:
        with copying.opened(one.parent, one.name) as first, copying.opened(other.parent, other.name) as second:
            found = [os.fstat(file.fileno()) for file in (first, second)]
            alike = found[0].st_size == found[1].st_size and found[0].st_mtime_ns == found[1].st_mtime_ns
            return alike and _equal(first, second)
    except (OSError, GaplessError):
        return False


def _equal(one: IO[bytes], other: IO[bytes]) -> bool:
    while part := one.read(1 << 20):
        if part != other.read(len(part)):
            return False
    return True
