"""The copies of gapless.toml that root decides from, for releases that an older gapless made."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gapless import environment
from gapless.config import FILE
from gapless.switch.systemd.home import SystemdHome


@dataclass(frozen=True)
class Settings:
    """A copy of the gapless.toml of every release of the app in `home`; later ones are made with their releases."""

    home: SystemdHome

    def missing(self) -> list[str]:
        return [f"Copy {self.home.releases / release / FILE} to where only root can write." for release in self._bare]

    def make(self) -> None:
        for release in self._bare:
            environment.take_settings(self.home.root, release)

    def remove(self, *, data: bool) -> list[str]:  # noqa: ARG002 -- they go with their directory
        """Nothing: the directory of the copies is removed as a whole."""
        return []

    @property
    def _bare(self) -> list[str]:
        if not self.home.owner or not self.home.releases.is_dir() or not os.access(self.home.env, os.X_OK):
            return []  # who may not look there hears of the rest
        found = (one for one in self.home.releases.iterdir() if (one / FILE).is_file() and not one.name.startswith("."))
        return sorted(one.name for one in found if not self.home.settings(one.name).exists())
