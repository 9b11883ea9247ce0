"""Ways to deploy one app: each starts it, replaces it when told to, and ends all that it started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from gapless.errors import GaplessError
from gapless.home import EMBEDDED, Home
from gapless.listen import bind

TEXT = """\
name = "demo"
listen = "{listen}"
command = {command}
env = {{ DEMO_BOOT = "{boot}" }}
check = {{ path = "/health" }}
drain = {{ linger = "{linger}s", requests = "10s", streams = "{linger}s" }}
"""
PATIENCE = 60.0  # seconds a server has to start or to end
Argv = Callable[[int, str], list[str]]  # of the port or descriptor, and the release


class Way(ABC):
    """One app on one loopback port, in `folder`; `name` is what tables call it."""

    def __init__(self, name: str, folder: Path, boot: float) -> None:
        folder.mkdir(parents=True)
        self.name = name
        self.folder = folder
        self.log = folder / "log"
        self.env = {**os.environ, "DEMO_BOOT": str(boot), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        shutil.copy(str(files("gapless").joinpath("demo/app.py")), folder / "app.py")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._started: list[subprocess.Popen[bytes]] = []
        self._releases = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Return the pid of the server that was started last; the server leads a session of its own."""
        return self._started[-1].pid

    @property
    def ledger(self) -> Path:
        """The app's database."""
        return self.folder / "ledger.db"

    @abstractmethod
    def deploy(self) -> None:
        """Replace what serves by a new release; returns when the new one serves."""

    def start(self) -> None:
        """Bring up the first release."""
        self.deploy()

    def retiring(self) -> list[int]:
        """Pids of replaced processes that have not ended yet."""
        return [one.pid for one in self._started[:-1] if one.poll() is None]

    def ended_cleanly(self) -> int:
        """How many processes ended by themselves after SIGTERM, not by SIGKILL or with an error."""
        return sum(one.returncode in (0, -signal.SIGTERM) for one in self._started)

    def stop(self) -> None:
        """End everything that was started."""
        for signalled in (signal.SIGTERM, signal.SIGKILL):
            for one in self._started:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(one.pid, signalled)
            deadline = time.monotonic() + 20
            with contextlib.suppress(subprocess.TimeoutExpired):
                for one in self._started:
                    one.wait(max(deadline - time.monotonic(), 0))

    def _spawn(self, argv: Sequence[str], fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                argv,
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=fds,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def _next(self) -> str:
        self._releases += 1
        return f"R{self._releases}"

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                tail = tuple(self.log.read_text(errors="replace").splitlines()[-15:])
                raise GaplessError("wait for", what, f"it took more than {PATIENCE:g} s", details=tail)
            time.sleep(0.02)


class Restart(Way):
    """Stop the old process, then start the new one, which binds the port itself."""

    def __init__(self, name: str, folder: Path, boot: float, argv: Argv) -> None:
        super().__init__(name, folder, boot)
        self.argv = argv

    def deploy(self) -> None:
        if self._started:
            old = self._started[-1]
            old.terminate()
            old.wait(PATIENCE)
        self._launch()
        self._until(self._connects, f"{self.name} on port {self.port}")

    def _launch(self) -> None:
        self._spawn(self.argv(self.port, self._next()))

    def _connects(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class HeldRestart(Restart):
    """Restarts a server on a socket that stays open: connections wait in the kernel meanwhile (socket activation)."""

    def __init__(self, name: str, folder: Path, boot: float, argv: Argv, ready: str) -> None:
        super().__init__(name, folder, boot, argv)
        self.ready = ready  # what the server logs when it accepts
        self.held = bind(f"127.0.0.1:{self.port}")

    def _launch(self) -> None:
        self._spawn(self.argv(self.held.fileno(), self._next()), [self.held.fileno()])

    def _connects(self) -> bool:
        return self.log.read_text(errors="replace").count(self.ready) >= len(self._started)

    def stop(self) -> None:
        super().stop()
        self.held.close()


class Overlap(HeldRestart):
    """Start the new process on the held socket, and stop the old one when the new one says that it is ready."""

    def deploy(self) -> None:
        old = self._started[-1] if self._started else None
        self._launch()
        self._until(self._connects, f"{self.name} on port {self.port}")
        if old:
            old.terminate()


class Gapless(Way):
    """`gapless run` and `gapless deploy`, as anybody would call them."""

    def __init__(self, name: str, folder: Path, boot: float, *, linger: float = 3, command: Sequence[str] = ()) -> None:
        super().__init__(name, folder, boot)
        argv = list(command) or ["gapless", "serve", "app:app"]
        text = TEXT.format(listen=f"127.0.0.1:{self.port}", command=argv, boot=boot, linger=linger).replace("'", '"')
        (folder / "gapless.toml").write_text(text)

    @property
    def ledger(self) -> Path:
        return Home(self.folder / EMBEDDED).shared / "ledger.db"

    def start(self) -> None:
        self._spawn([sys.executable, "-m", "gapless", "run"])
        self._until(lambda: self.gapless("status").returncode == 0, "gapless run")

    def deploy(self) -> None:
        done = self.gapless("deploy", "-q")
        if done.returncode:
            raise GaplessError("deploy", "the demo app", done.stderr.strip())

    def ended_cleanly(self) -> int:
        lines = self.log.read_text(errors="replace").splitlines()
        return sum("gapless | " in line and "exited with status 0" in line for line in lines)

    def gapless(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a verb in the project."""
        command = [sys.executable, "-m", "gapless", *argv]
        return subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
