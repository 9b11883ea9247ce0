"""The embedded manager's directory: where everything is, who holds it, and the one file that commits."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from gapless.errors import GaplessError

LONGEST_PATH = 100  # bytes; sun_path has 108 (unix(7)), and some clients append to the name


@dataclass(frozen=True)
class Home:
    """`<project>/.gapless` and the paths inside."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def control(self) -> Path:
        return self.run / "control.sock"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def shared(self) -> Path:
        return self.root / "shared"

    def release(self, release: str) -> Path:
        """The directory of `release`; raises GaplessError when there is none or the name is not one of a release."""
        directory = self.root / "releases" / release
        if "\0" in release or release in {"", ".", ".."} or Path(release).name != release or not directory.is_dir():
            hint = f"releases are the directories in {self.root / 'releases'}"
            raise GaplessError("find", f"the release {release!r}", f"there is no directory {directory}", hint)
        return directory

    def make(self) -> None:
        """Create what the supervisor needs; `run` is for its owner only, and so are the sockets inside."""
        (self.root / "releases").mkdir(parents=True, exist_ok=True)
        self.shared.mkdir(mode=0o750, exist_ok=True)
        self.log.mkdir(mode=0o700, exist_ok=True)
        self.run.mkdir(mode=0o700, exist_ok=True)
        self.run.chmod(0o700)

    def current(self) -> str | None:
        """The release that the commit file names, or None before the first commit."""
        try:
            return (self.root / "current").readlink().name
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
            fresh.symlink_to(Path("releases") / release)
            os.fsync(directory)
            fresh.rename(self.root / "current")
            os.fsync(directory)
        finally:
            os.close(directory)
            fresh.unlink(missing_ok=True)

    @property
    def _elsewhere(self) -> Path:
        key = hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:16]
        base = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")  # noqa: S108 -- the directory is 0700 and checked
        return base / f"gapless-{os.getuid()}-{key}"

    def tidy(self) -> None:
        """Remove the directory of private sockets outside the project, unless an instance still has one there."""
        with contextlib.suppress(OSError):
            self._elsewhere.rmdir()

    def private(self, instance: str) -> str:
        """The path of an instance's private socket, short enough for sun_path however deep the project is."""
        near = str(self.run / f"{instance}.sock")
        if len(os.fsencode(near)) <= LONGEST_PATH:
            return near
        directory = self._elsewhere
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        found = directory.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o170777 != 0o040700:
            hint = f"remove {directory}, or set XDG_RUNTIME_DIR to a directory of your own"
            raise GaplessError("use", str(directory), "it is not a directory that only you can enter", hint)
        return str(directory / f"{hashlib.sha256(instance.encode()).hexdigest()[:24]}.sock")

    def notify(self, instance: str) -> str:
        """The abstract name of an instance's notify socket: the same for every supervisor, so it can be bound again."""
        key = hashlib.sha256(os.fsencode(self.root.resolve()) + b"\0" + instance.encode()).hexdigest()[:32]
        return f"\0gapless/{key}"
