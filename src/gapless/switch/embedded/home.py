"""What the embedded manager keeps of an app beside its releases: records, the control socket, private sockets."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from gapless.errors import GaplessError
from gapless.home import Home

LONGEST_PATH = 100  # bytes; sun_path has 108 (unix(7)), and some clients append to the name


class EmbeddedHome(Home):
    """A home with a directory `run`, which is for its owner only."""

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def control(self) -> Path:
        return self.run / "control.sock"

    @property
    def supervised(self) -> Path:
        """The file that the one supervisor of this home locks."""
        return self.run / "lock"

    def make(self) -> None:
        """Create what the supervisor needs; `run` is for its owner only, and so are the sockets inside."""
        self.releases.mkdir(parents=True, exist_ok=True)
        self.shared.mkdir(mode=0o750, exist_ok=True)
        self.log.mkdir(mode=0o700, exist_ok=True)
        self.run.mkdir(mode=0o700, exist_ok=True)
        self.run.chmod(0o700)

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

    def runtime(self, instance: str) -> str:
        """The directory that an instance has for itself as long as it runs, empty when it starts."""
        return str((self.run / f"{instance}.runtime").absolute())

    def notify(self, instance: str) -> str:
        """The abstract name of an instance's notify socket: the same for every supervisor, so it can be bound again."""
        key = hashlib.sha256(os.fsencode(self.root.resolve()) + b"\0" + instance.encode()).hexdigest()[:32]
        return f"\0gapless/{key}"
