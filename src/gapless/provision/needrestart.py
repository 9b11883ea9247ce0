"""What needrestart(1) is told, which restarts services after an upgrade of a library, where it is installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gapless.linux.files import replace
from gapless.switch.systemd.home import SystemdHome, ours

SNIPPETS = Path("/etc/needrestart/conf.d")  # Perl, which its configuration file evaluates


@dataclass(frozen=True)
class Needrestart:
    """A snippet that has it list the app's servers, and leave them alone: visitors would wait for drain and boot.

    There is none on a host without needrestart, nor of a user's own manager.
    """

    home: SystemdHome

    def missing(self) -> list[str]:
        if not self.home.owner or not SNIPPETS.is_dir():
            return []
        if self._path.exists() and (not ours(self._path) or self._path.read_text("utf-8", "replace") == self._text):
            return []
        return [f"Have needrestart leave the restarts of {self.home.name} to deploys: {self._path}."]

    def make(self) -> None:
        if self.missing():
            replace(self._path, self._text)

    def remove(self, *, data: bool) -> list[str]:  # noqa: ARG002 -- it keeps none
        if not self.home.owner or not self._path.exists() or not ours(self._path):
            return []
        self._path.unlink()
        return [str(self._path)]

    @property
    def _path(self) -> Path:
        return SNIPPETS / f"gapless-{self.home.name}.conf"

    @property
    def _text(self) -> str:
        return f"""\
# Made by gapless for {self.home.name}; `gapless up` writes it again.
# At a restart visitors wait for drain and boot. The next `gapless deploy` takes the new libraries, and nobody waits.
$nrconf{{override_rc}}->{{qr(^{self.home.name}@.+\\.service$)}} = 0;
1;
"""
