"""Builds and migrations under systemd: each is a unit of a fixed name, so that systemd knows whether one still runs."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Sequence

from gapless.linux.disk import refusal
from gapless.linux.files import replace
from gapless.switch.job import Kind, failure
from gapless.switch.systemd import units
from gapless.switch.systemd.deadman import stopped_with_us
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.systemctl import GONE

LATE = 30.0  # seconds that systemd gets to end a command which has used up its time
SHOWN = ("ExecMainCode", "ExecMainStatus", "Result")


class SystemdJobs:
    """Implements Jobs for the app in `home`, whose accounts they run as: of the app, or of its builds."""

    def __init__(self, home: SystemdHome) -> None:
        self.home = home
        self.ctl = home.ctl

    def run(self, kind: Kind, argv: Sequence[str], release: str, timeout: float) -> None:
        """Run `argv` in a unit; should we be killed, a build ends, and a migration goes on."""
        unit = self.home.job(kind)
        path, log = self.home.volatile / unit, self.home.log_of(release)
        try:
            replace(path, units.job(self.home.config(release), self.home, release, kind, argv, timeout))
        except OSError as error:
            raise refusal("write", str(path), error) from error
        deadman = contextlib.nullcontext() if kind is Kind.MIGRATION else stopped_with_us(self.ctl, unit, remove=[path])
        try:
            with deadman:
                if self.ctl.show(["NeedDaemonReload"], unit)[0]["NeedDaemonReload"] == "yes":
                    self.ctl.do("daemon-reload")
                done = self.ctl.attempt("start", unit, timeout=timeout + LATE)
            if done.returncode != 0:
                raise failure(kind, release, log, self._cause(unit, timeout, done))
        except subprocess.TimeoutExpired:
            raise failure(kind, release, log, f"it took longer than {timeout:g} s") from None
        finally:
            self._end(unit)

    def under_way(self) -> str:
        """Whether the migration of a killed deployer goes on."""
        unit = self.home.job(Kind.MIGRATION)
        state = self.ctl.show(["ActiveState"], unit)[0]["ActiveState"]
        return "" if state in GONE else f"a migration whose deployer is gone still runs ({unit})"

    def end(self) -> None:
        """End a build or compilation whose deployer and deadman were killed."""
        for kind in (Kind.BUILD, Kind.COMPILE):
            self._end(self.home.job(kind))

    def _end(self, unit: str) -> None:
        path = self.home.volatile / unit
        if self.ctl.show(["ActiveState"], unit)[0]["ActiveState"] != "inactive":
            self.ctl.attempt("stop", unit)  # by its whole control group
            self.ctl.attempt("reset-failed", unit)
        path.unlink(missing_ok=True)

    def _cause(self, unit: str, timeout: float, done: subprocess.CompletedProcess[str]) -> str:
        found = self.ctl.show(SHOWN, unit)[0]
        status = int(found["ExecMainStatus"])
        if found["Result"] == "timeout":
            return f"it took longer than {timeout:g} s"
        if found["Result"] == "exit-code":
            return f"it exited with status {status}"
        if found["Result"] in {"signal", "core-dump"}:
            return f"it was ended by {_signal(status)}"
        return done.stderr.strip() or f"systemd said {found['Result']}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
