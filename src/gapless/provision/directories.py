"""The directories of an app's home."""

from __future__ import annotations

import contextlib
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from gapless.linux.files import remove_tree
from gapless.switch.systemd.home import SystemdHome


@dataclass(frozen=True)
class Directories:
    """The directories that `gapless up` makes in `home.root`; the app writes `shared` alone, its builds `cache`."""

    home: SystemdHome

    def missing(self) -> list[str]:
        return [f"Make {path}." for path in self._all if not path.exists()]

    def make(self) -> None:
        closed, shared = self.home.closed, self.home.shared
        for path in self._all:
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700 if path in {*closed, self.home.cache} else 0o750 if path == shared else 0o755)
            if self.home.owner and path in self._owners:
                user = pwd.getpwnam(self._owners[path])
                os.chown(path, user.pw_uid, user.pw_gid)

    def remove(self, *, data: bool) -> list[str]:
        """All that is in the home; without `data` what is `Home.kept` stays, and the home with it."""
        root, gone = self.home.root, []
        with contextlib.suppress(OSError):  # the next boot does it
            remove_tree(self.home.run)
            remove_tree(self.home.rehearsals)
            remove_tree(self.home.runtimes)
        for path in sorted(root.iterdir()) if root.exists() else []:
            if data or path not in self.home.kept:
                remove_tree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                gone.append(str(path))
        if data and root.exists():
            root.rmdir()
        return gone

    @property
    def _all(self) -> list[Path]:
        home = self.home
        return [home.root, home.releases, home.shared, *home.closed, *([home.cache] if home.owner else [])]

    @property
    def _owners(self) -> dict[Path, str]:
        return {self.home.shared: self.home.owner, self.home.cache: self.home.builder}
