"""A service that turns back from a release which nobody confirms: it runs meanwhile, and again at the next boot."""

from __future__ import annotations

import sys

from gapless.linux.disk import refusal
from gapless.linux.files import replace
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome

PROGRAM = "gapless.cli.turn_back"


class SystemdGuard:
    """Implements Guard for the app in `home`."""

    def __init__(self, home: SystemdHome) -> None:
        self.home = home
        self.unit = home.units / home.job("confirm")
        self.wanted = home.units / f"{'default' if home.user else 'multi-user'}.target.wants" / self.unit.name

    def begin(self) -> None:
        """Start it, and have each boot do so. Raises GaplessError."""
        argv = [sys.executable, "-P", "-m", PROGRAM, self.home.name, *(["--user"] if self.home.user else [])]
        try:
            replace(self.unit, units.render("confirm", home=self.home, argv=argv))
            self.wanted.parent.mkdir(exist_ok=True)
            if not self.wanted.is_symlink():
                self.wanted.symlink_to(self.unit)
        except OSError as error:
            raise refusal("write", str(self.unit), error) from error
        # Not `start`: one that has just seen that there is nothing left to do would count, and end.
        self.home.ctl.do("restart", self.unit.name)

    def end(self) -> None:
        """Start it no more; what runs ends by itself. Raises GaplessError."""
        try:
            self.wanted.unlink(missing_ok=True)
            self.unit.unlink(missing_ok=True)
        except OSError as error:
            raise refusal("remove", str(self.unit), error) from error
