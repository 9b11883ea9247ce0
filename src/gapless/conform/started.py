"""Start a server as a service manager does: the sockets from descriptor 3 on, LISTEN_* and NOTIFY_SOCKET."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gapless import variables
from gapless.linux import procfs

# What a manager does between fork and exec, as a program: LISTEN_PID is known there alone, and beside threads nothing
# of ours may run between the two.
ACTIVATE = """
import os, sys
fds, argv = [int(fd) for fd in sys.argv[1].split(",")], sys.argv[2:]
moved = [os.dup2(fd, 200 + i) for i, fd in enumerate(fds)]
for fd in fds: os.close(fd)
for i, fd in enumerate(moved): os.dup2(fd, 3 + i); os.close(fd)
if os.environ.get("LISTEN_FDS"): os.environ.setdefault("LISTEN_PID", str(os.getpid()))
try: os.execvp(argv[0], argv)
except OSError as error: sys.exit(f"cannot start {argv[0]}: {error.strerror}")
"""
READY = "READY=1"
STARTS = 20.0  # seconds until a server that gets no further is given up
LOOK = 0.01  # seconds between looks

# What a manager says to its service; ours come from whoever started us.
SAID = {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}


def wait_for(condition: Callable[[], object], within: float) -> bool:
    """Wait until `condition` is true; False when that does not come in time."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)
    return True


class Started:
    """A release of the server: its process, what it notified, what it logged."""

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        release: str,
        folder: Path,
        env: Mapping[str, str | None],
    ) -> None:
        self.release = release
        self.log = folder / f"{release}.log"
        self.heard: dict[str, float] = {}  # what it notified, and when, on the monotonic clock
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = folder / f"{release}.notify"
        self._notified.bind(str(address))
        said: dict[str, str | None] = {
            "LISTEN_FDS": str(len(sockets)),
            "NOTIFY_SOCKET": str(address),
            variables.RELEASE: release,
        }
        inherited = {name: value for name, value in os.environ.items() if name not in SAID}
        environment = {name: value for name, value in {**inherited, **said, **env}.items() if value is not None}
        self.began = time.monotonic()
        numbers = [one.fileno() for one in sockets]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-ISc", ACTIVATE, ",".join(map(str, numbers)), *command],
                cwd=folder / "apps",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=numbers,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def last_words(self) -> str:
        """The end of its log, in a line."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return " | ".join(lines[-3:])[-300:] or "it said nothing"

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def says(self, assignment: str) -> bool:
        """Whether it has notified `assignment` by now."""
        while True:
            try:
                message = self._notified.recv(8192, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return assignment in self.heard
            for line in message.decode(errors="replace").splitlines():
                self.heard.setdefault(line, time.monotonic())

    def tell(self, number: int = signal.SIGTERM) -> float:
        """Send it a signal; returns when, on the monotonic clock."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return time.monotonic()

    def ended(self, within: float) -> int | None:
        """Its exit status once it has ended; None when it has not in time."""
        try:
            return self.process.wait(max(within, 0))
        except subprocess.TimeoutExpired:
            return None

    def pids(self) -> list[int]:
        """Its processes: those of its session. The first is none of them once it has been waited for."""
        runs = self.runs
        return [pid for pid in procfs.session(self.process.pid) if runs or pid != self.process.pid]

    def close(self) -> None:
        """End all of it."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self._notified.close()
