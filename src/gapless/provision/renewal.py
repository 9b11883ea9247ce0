"""After an upgrade of gapless, or a downgrade: whether what serves was made by this gapless, or by another."""

from __future__ import annotations

from dataclasses import dataclass

from gapless import timeouts
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.manager import SystemdManager
from gapless.version import maker


@dataclass(frozen=True)
class Renewal:
    """The unit of the server of the `current` release; who made it decided how it is started again, too."""

    home: SystemdHome
    current: str

    @property
    def maker(self) -> str:
        """Who made it; "" where there is none. Raises OSError."""
        instance = SystemdManager(self.home).instance()
        text = units.installed(self.home, self.home.unit(instance)) if instance else ""
        return units.made_by(text) if text else ""

    def missing(self) -> list[str]:
        """Say what `make` would do. Raises OSError."""
        other = self.maker
        return [f"Start {self.current} again, beside itself: {other} made its units."] if self._is_due(other) else []

    def make(self) -> None:
        """Replace what serves by another instance of its release, as this gapless starts one; it loses no request.

        Raises GaplessError when that does not become ready: then what serves goes on.
        """
        if self._is_due(self.maker):
            manager = SystemdManager(self.home)
            if any(one.ready for one in manager.instances()):
                manager.renew(self.current, self.home.config(self.current).check.timeout + timeouts.DEPLOYER)
            else:  # its units are written anew, and it is started by them
                manager.point(self.current)

    def _is_due(self, other: str) -> bool:
        return bool(self.current) and other not in ("", maker())
