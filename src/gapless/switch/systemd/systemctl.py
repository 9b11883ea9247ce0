"""systemctl, asked and told: of the machine's manager, or of the caller's own."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gapless.errors import GaplessError

PATIENCE = 90.0  # seconds for an answer: systemd has a bus time-out of its own before that

# What systemctl says when systemd executes itself anew (daemon-reexec: an upgrade of it does that) in the middle.
AWAY = ("Connection reset by peer", "Connection refused", "Transport endpoint is not connected", "disconnected")
GONE = {"inactive", "failed", "maintenance"}  # states of a unit that does not run
TRIES, PAUSE = 50, 0.1  # seconds between two
AGAIN = 3.0  # seconds: four tries in ten seconds, where systemd's limit of starts is five
MARGIN = 5.0  # seconds over a unit's own time to stop: systemd itself has killed it by then
SPAN = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min|h|d)\b")  # a part of what systemd says of a time, systemd.time(7)
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def runtime() -> Path:
    """Where the caller's own manager has its sockets: XDG_RUNTIME_DIR, where that is the caller's.

    After sudo, or in cron, there is no such variable, and after su it is somebody else's.
    """
    given = Path(os.environ.get("XDG_RUNTIME_DIR") or "/")
    with contextlib.suppress(OSError):
        if given.stat().st_uid == os.getuid() and given != Path("/"):
            return given
    return Path(f"/run/user/{os.getuid()}")


@dataclass(frozen=True)
class Systemctl:
    """Every method raises GaplessError when systemd cannot be reached or refuses."""

    user: bool = False

    def argv(self, *argv: str) -> list[str]:
        """The command line."""
        return ["systemctl", *self._common, *argv]

    @property
    def environment(self) -> dict[str, str]:
        """What a program is started with that asks the manager."""
        env = {**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}
        if self.user and (own := str(runtime())) != env.get("XDG_RUNTIME_DIR"):
            env["XDG_RUNTIME_DIR"] = own
            env.pop("DBUS_SESSION_BUS_ADDRESS", None)  # of whom the other was
        return env

    @property
    def _common(self) -> list[str]:
        return [*(["--user"] if self.user else []), "--no-ask-password", "--quiet"]

    def do(self, *argv: str, timeout: float | None = None) -> str:
        """Run systemctl with `argv` and return its output. Raises TimeoutExpired after a `timeout`, too."""
        return self._succeeded(argv[0], argv[-1], self.attempt(*argv, timeout=timeout))

    def run_later(self, seconds: float, unit: str, *argv: str) -> None:
        """Have systemd run `argv` as `unit` in so many `seconds`, and again and again until it succeeds.

        Both the unit and its timer are transient: nothing of them stays.
        """
        timer = [f"--on-active={seconds:.3f}s", "--timer-property=AccuracySec=50ms"]
        again = ["--property=Restart=on-failure", f"--property=RestartSec={AGAIN:g}s"]
        asked = ["systemd-run", *self._common, "--collect", f"--unit={unit}", *timer, *again, "--", *argv]
        self._succeeded("start", f"the timer of {unit}", self._run(asked, PATIENCE))

    def end_by_conflict(self, unit: str, *, wait: bool = True) -> None:
        """Have systemd stop `unit`, which has RefuseManualStop=; with `wait` it has ended then."""
        asked = self.conflict(unit, *([] if wait else ["--no-block"]))
        self._succeeded("stop", unit, self._attempt(asked, "stop", None))

    def conflict(self, unit: str, *more: str) -> list[str]:
        """The command line of a unit that does nothing, once `unit` has ended for it."""
        properties = ("Type=oneshot", f"Conflicts={unit}", f"After={unit}")
        asked = [f"--property={one}" for one in properties]
        return ["systemd-run", *self._common, "--collect", *asked, *more, "--", "true"]

    def _succeeded(self, operation: str, object_: str, done: subprocess.CompletedProcess[str]) -> str:
        """Its output. Raises GaplessError."""
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or [f"{done.args[0]} exited with status {done.returncode}"]
            raise GaplessError(operation, object_, said[0], _hint(done.stderr, self.user), details=tuple(said[1:]))
        return done.stdout

    def attempt(self, *argv: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run systemctl with `argv`, whatever its exit status; again if the connection broke.

        Raises TimeoutExpired after `timeout` seconds; without one GaplessError after PATIENCE.
        """
        return self._attempt(self.argv(*argv), argv[0], timeout)

    def _attempt(self, command: Sequence[str], verb: str, timeout: float | None) -> subprocess.CompletedProcess[str]:
        deadline = time.monotonic() + (PATIENCE if timeout is None else timeout)
        for _ in range(TRIES):
            try:
                done = self._run(command, max(deadline - time.monotonic(), 0.05))
            except subprocess.TimeoutExpired:
                if timeout is not None:
                    raise
                hint = "`systemctl list-jobs` shows what it is busy with; then repeat this"
                cause = f"`systemctl {verb}` got no answer within {PATIENCE:g} s"
                raise GaplessError("ask", "systemd", cause, hint) from None
            if done.returncode == 0 or not any(sign in done.stderr for sign in AWAY):
                break
            time.sleep(PAUSE)
        return done

    def _run(self, command: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                start_new_session=True,  # Ctrl-C is for us alone: what was asked is done, or undone, by us
            )
        except FileNotFoundError:
            hint = "use `gapless run` (the embedded supervisor) on machines without systemd"
            raise GaplessError("ask", "systemd", f"there is no {command[0]} here", hint) from None

    def end(self, *units: str, within: float | None = None) -> None:
        """Stop `units` (names or patterns) and wait until they are gone; kill what is left after `within` seconds.

        None is the longest TimeoutStopSec= among them. A program may ask systemd for more time again and again
        (EXTEND_TIMEOUT_USEC of sd_notify(3)), and without a bound of ours it would get that for ever.
        """
        if within is None:
            found = self.show(["TimeoutStopUSec"], *units)
            within = MARGIN + max((_seconds(one.get("TimeoutStopUSec", "")) for one in found), default=0.0)
        try:
            self.do("stop", *units, timeout=within)
        except subprocess.TimeoutExpired:
            self.attempt("kill", "--signal=SIGKILL", *units)
            self.do("stop", *units)

    def show(self, properties: Sequence[str], *units: str) -> list[dict[str, str]]:
        """The properties of each unit that is loaded and matches one of `units` (names or patterns)."""
        text = self.do("show", "--timestamp=us+utc", f"--property={','.join(properties)}", "--", *units)
        # At "\n" alone: splitlines() knows other ends of a line, and an app may say one in its status text.
        return [dict(line.partition("=")[::2] for line in block.split("\n")) for block in text.split("\n\n") if block]


def _seconds(written: str) -> float:
    """Seconds of a time as systemd says it, "1min 30s"; 0 of what has none."""
    return sum(float(number) * SECONDS[unit] for number, unit in SPAN.findall(written))


def _hint(said: str, user: bool) -> str:
    if "Failed to connect to bus" in said:
        if not user:
            return "does systemd run here?"
        # With sudo: where there is no polkit, nobody else may have that even of his own.
        return f"`sudo loginctl enable-linger {pwd.getpwuid(os.getuid()).pw_name}` starts it, and lets it stay"
    if "uthentication" in said or "Access denied" in said:
        return "run it as root"
    return ""
