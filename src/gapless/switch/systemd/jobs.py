"""Builds, migrations and hooks under systemd: units of fixed names, so that systemd knows whether one still runs."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence

from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.files import replace
from gapless.linux.log_file import detach, logged
from gapless.switch.job import NOTHING, Kind, Told, failure, how_it_ended, out_of_memory
from gapless.switch.systemd import units
from gapless.switch.systemd.deadman import stopped_with_us
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.systemctl import GONE

LATE = 30.0  # seconds that systemd gets to end a command which has used up its time
SHOWN = ("ExecMainStatus", "Result")


class SystemdJobs:
    """Implements Jobs for the app in `home`, whose accounts they run as: of the app, or of its builds."""

    def __init__(self, home: SystemdHome) -> None:
        self.home = home
        self.ctl = home.ctl

    def run(self, kind: Kind, argv: Sequence[str], release: str, timeout: float, told: Told = NOTHING) -> None:
        """Run `argv` in a unit; should we be killed, it ends, unless it is a migration, which goes on."""
        unit = self.home.job(kind)
        path, log = self.home.volatile / unit, self.home.log_of(release)
        try:
            replace(path, units.job(self.home.config(release), self.home, release, kind, argv, timeout, told))
        except OSError as error:
            raise refusal("write", str(path), error) from error
        deadman = contextlib.nullcontext() if kind is Kind.MIGRATION else stopped_with_us(self.ctl, unit, remove=[path])
        problem = f"it took longer than {timeout:g} s"
        with logged(log):
            try:
                with deadman, contextlib.suppress(subprocess.TimeoutExpired):
                    done = self.ctl.attempt("start", unit, timeout=timeout + LATE)
                    problem = self._problem(kind, release, timeout, done)
            except BaseException:
                self._end(unit)
                raise
            if problem:
                self._end(unit)
        self._forget(unit)
        if problem:
            raise failure(kind, release, log, problem, told.name)

    def under_way(self) -> str:
        """End what a killed deployer and its deadman left of a command, and say whether a migration goes on."""
        names = {self.home.job(kind): kind for kind in Kind}
        for found in self.ctl.show(["Id", "ActiveState", "LoadState"], *names):
            unit = found["Id"]
            if names[unit] is Kind.MIGRATION and found["ActiveState"] not in GONE:
                return f"a migration whose deployer is gone still runs ({unit})"
            # A unit that systemd still knows would run once more as it was, not as it is written then.
            if found["LoadState"] != "not-found":
                self._end(unit)
                self.ctl.do("daemon-reload")
                for log in self.home.log.glob("*.log"):
                    detach(log)
        return ""

    def _end(self, unit: str) -> None:
        with contextlib.suppress(GaplessError):  # systemd never read that file
            self.ctl.end(unit)  # by its whole control group
        self.ctl.attempt("reset-failed", unit)
        self._forget(unit)

    def _forget(self, unit: str) -> None:
        (self.home.volatile / unit).unlink(missing_ok=True)
        if self.home.cache.exists():
            self.home.cache.chmod(0o700)  # a build owns the directory, and may have let others in

    def _problem(self, kind: Kind, release: str, timeout: float, done: subprocess.CompletedProcess[str]) -> str:
        """How the command failed, in words; empty when it did not."""
        if done.returncode == 0:
            return ""
        found = self.ctl.show(SHOWN, self.home.job(kind))[0]
        status = int(found["ExecMainStatus"])
        if found["Result"] == "timeout":
            return f"it took longer than {timeout:g} s"
        if found["Result"] == "oom-kill":
            config = self.home.config(release)
            return out_of_memory(*(("build", config.build.memory) if kind.builds else ("limits", config.limits.memory)))
        if found["Result"] == "exit-code":
            return how_it_ended(status)
        if found["Result"] in {"signal", "core-dump"}:
            return how_it_ended(-status)
        return done.stderr.strip() or f"systemd said {found['Result']}"
