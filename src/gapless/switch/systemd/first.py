"""The first candidate: until there is a commit, the socket is open for that one instance alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gapless.linux.files import replace
from gapless.switch.systemd.home import SystemdHome


@dataclass(frozen=True)
class FirstCandidate:
    """The service unit `unit` of the first candidate of the app in `home`."""

    home: SystemdHome
    unit: str

    @property
    def named(self) -> tuple[Path, str]:
        """The file that lets the socket start the candidate, and the line in it; the next deployer's has another."""
        return self.home.candidate, f"Service={self.unit}"

    @property
    def file(self) -> Path:
        """The unit file: it goes with a candidate that was not committed."""
        return self.home.units / self.unit

    def name(self) -> None:
        """Let the socket start the candidate, and nothing else: a socket needs a service. Raises OSError."""
        file, line = self.named
        replace(file, f"[Socket]\n{line}\n")
        self.home.ctl.do("daemon-reload")  # of a unit's first drop-in NeedDaemonReload knows nothing

    def close(self) -> None:
        """Close the socket, and let it start nothing any more, whoever opens it. Raises OSError."""
        self.home.ctl.do("stop", self.home.socket)
        if self.home.candidate.exists():
            self.home.candidate.unlink()
            self.home.ctl.do("daemon-reload")
