"""Real processes and sockets for tests: start them, talk to them, wait on conditions, end them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

APPS = str(Path(__file__).parent / "apps")
GAPLESS = [sys.executable, "-m", "gapless"]

ROOT = Path(__file__).parents[1]

# What a manager does between fork and exec, as a program: descriptors from 3 on, and the pid that they are for.
ACTIVATE = """
import os, sys
fds, argv = [int(fd) for fd in sys.argv[1].split(",")], sys.argv[2:]
moved = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]
for i, fd in enumerate(moved):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ["LISTEN_FDS"] = os.environ.get("TEST_LISTEN_FDS", str(len(fds)))
os.environ["LISTEN_PID"] = os.environ.get("TEST_LISTEN_PID", str(os.getpid()))
os.execvp(argv[0], argv)
"""

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], seconds: float = 30.0, what: str = "") -> T:
    """Return the first true value of `condition`; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.01)


def program(module: str, *argv: str, statuses: Sequence[int] = (0,), seconds: float = 170) -> str:
    """What `python -m module` prints in the project; fails the test on another exit status, or after `seconds`."""
    command = [sys.executable, "-m", module, *argv]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds)
    assert done.returncode in statuses, done.stdout + done.stderr
    return done.stdout


def figure(text: str) -> None:
    """Print what a test measured and does not judge: `pytest -rP` shows it."""
    print(text)  # noqa: T201 -- pytest keeps it


def listening(backlog: int = 128) -> socket.socket:
    """A listening socket on a free loopback port, as a manager would hold it."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    return sock


def backlog_of(sock: socket.socket) -> int:
    """The backlog of a listening TCP socket: tcpi_sacked of TCP_INFO says it for listeners, inet_diag(7)."""
    return int.from_bytes(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[28:32], sys.byteorder)


def inode_of(port: int, table: Path = Path("/proc/net/tcp")) -> int:
    """The inode of the socket that listens on an IPv4 port, as the kernel has it (proc_net(5))."""
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    return next(int(row[9]) for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A")


def get(where: tuple[str, int], path: str = "/", timeout: float = 30.0) -> tuple[int, dict[str, str], bytes]:
    """One GET on a new connection."""
    connection = http.client.HTTPConnection(*where, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def address(sock: socket.socket) -> tuple[str, int]:
    """Host and port that a TCP socket is bound to."""
    host, port = sock.getsockname()[:2]
    return host, port


@contextlib.contextmanager
def keep_alive_client(sock: socket.socket) -> Iterator[http.client.HTTPConnection]:
    """A client with one connection of its own."""
    connection = http.client.HTTPConnection(*address(sock), timeout=30)
    try:
        connection.connect()
        yield connection
    finally:
        connection.close()


def status_of(private: Path) -> dict[str, Any]:
    """The status document of the instance behind a private socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(private))
        sock.sendall(b"GET /.gapless/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    document: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return document


class Started:
    """A process that a test started; its output goes to a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def says(self, text: str, seconds: float = 30.0) -> None:
        """Wait until the output contains `text`."""
        wait_until(lambda: text in self.output or self._dead(text), seconds, f"{text!r} in:\n{self.output}")

    def _dead(self, text: str) -> bool:
        ended = self.process.poll() is not None and text not in self.output
        assert not ended, f"it ended with {self.process.returncode} before it said {text!r}:\n{self.output}"
        return False

    def kill(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def status(self, seconds: float = 60.0) -> int:
        """The exit status, once it has ended."""
        return self.process.wait(seconds)


class start:  # noqa: N801 -- a fixture that is called like a function
    """Starts programs in `folder` and ends them with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Started] = []

    def __call__(
        self,
        *argv: str,
        sockets: Sequence[socket.socket] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Started:
        if sockets:
            argv = (sys.executable, "-c", ACTIVATE, ",".join(str(one.fileno()) for one in sockets), *argv)
        log = self.folder / f"output-{len(self._started)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv,
                cwd=cwd or self.folder,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[one.fileno() for one in sockets],
                start_new_session=True,
            )
        self._started.append(Started(process, log))
        return self._started[-1]

    def end(self) -> None:
        for one in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.process.wait()
