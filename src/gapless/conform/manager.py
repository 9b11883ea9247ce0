"""The manager that a case plays: it holds the socket, and starts releases of the server on it."""

from __future__ import annotations

import shutil
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gapless import variables
from gapless.conform.started import LOOK, READY, STARTS, Started, wait_for
from gapless.conform.visitor import Address, Lost, Response, Visitor, head

APPS = Path(__file__).parent / "apps"
BACKLOG = 3000  # no server's own, so that any listen(2) shows; below the kernel's usual net.core.somaxconn

# The budgets of a drain that every server is told, in seconds, as docs/servers.md says; and what comes on top.
LINGER, REQUESTS, STREAMS = 4.0, 5.0, 6.0
HEAD = 4.0  # and for the head of a request, whether it drains or not
BUDGETS = {variables.LINGER: f"{LINGER:g}", variables.REQUESTS: f"{REQUESTS:g}", variables.STREAMS: f"{STREAMS:g}"}
BUDGETS |= {variables.HEAD_TIMEOUT: f"{HEAD:g}"}
ENDS = max(LINGER, REQUESTS, STREAMS) + 6  # seconds from SIGTERM to the end of everything
SETTLES = 0.3  # seconds that a signal may take to have its effect


@dataclass(frozen=True)
class Facts:
    """What is known of a server before the cases: whether it notifies, and whether it keeps connections."""

    notifies: bool = True
    keeps: bool = True
    seconds: float = 0.0  # that it took to start


class Manager:
    """Holds a socket, starts releases of `command` on it, and lets visitors in; ends all that it began."""

    def __init__(self, command: Sequence[str], folder: Path, facts: Facts) -> None:
        self.command = command
        self.facts = facts
        self.folder = folder
        shutil.copytree(APPS, folder / "apps")
        self.sock = listening()
        self._sockets = [self.sock]
        self._releases: list[Started] = []
        self._visitors: list[Visitor] = []

    @property
    def address(self) -> Address:
        return name_of(self.sock)

    def hold(self, sock: socket.socket) -> socket.socket:
        """Close this one with the rest."""
        self._sockets.append(sock)
        return sock

    def launch(self, sockets: Sequence[socket.socket] = (), **env: str | None) -> Started:
        """Start a release, and do not wait for it; `env` are more variables, None for one that it is not to have."""
        release = f"r{len(self._releases) + 1}"
        found = Started(self.command, sockets or [self.sock], release, self.folder, {**BUDGETS, **env})
        self._releases.append(found)
        return found

    def start(self, sockets: Sequence[socket.socket] = (), **env: str | None) -> Started:
        """Start a release, and wait until it is ready, and answers, too; raises Lost when it never does."""
        started = self.launch(sockets, **env)
        address = name_of(sockets[0]) if sockets else self.address
        self.wait_ready(started, address)
        if not wait_for(lambda: answers(address) == started.release, STARTS):
            raise Lost(f"it did not answer within {STARTS:g} s: {started.last_words}")
        return started

    def wait_ready(self, started: Started, address: Address) -> None:
        """Wait for READY=1, or where the server never says that, for an answer of this very release."""
        deadline = time.monotonic() + STARTS
        while not (started.says(READY) if self.facts.notifies else answers(address) == started.release):
            if not started.runs:
                raise Lost(f"it ended with {started.process.returncode} before it was ready: {started.last_words}")
            if time.monotonic() > deadline:
                raise Lost(f"it was not ready within {STARTS:g} s: {started.last_words}")
            time.sleep(LOOK)

    def visitor(self, address: Address = "") -> Visitor:
        """A new connection."""
        self._visitors.append(Visitor(address or self.address))
        return self._visitors[-1]

    def get(self, path: str = "/", address: Address = "") -> Response:
        """One GET on a connection of its own; raises Lost."""
        with Visitor(address or self.address) as one:
            return one.send(head(path, Connection="close")).response()

    def retire(self, old: Started) -> float:
        """SIGTERM, and time for it to be heard; returns when it was sent."""
        at = old.tell()
        time.sleep(SETTLES)
        return at

    def replace(self, old: Started) -> Started:
        """Hand over: start the next release, wait until it is ready, and retire the old one."""
        new = self.launch()
        self.wait_ready(new, self.address)  # what a manager goes by, true or not
        self.retire(old)
        return new

    def waiting(self) -> int:
        """How many connections wait in the kernel's queue: tcpi_unacked of a listener, tcp(7)."""
        return info(self.sock, 24)

    def until_accepted(self, within: float = 5.0) -> bool:
        """Wait until nothing waits in the kernel's queue."""
        return wait_for(lambda: self.waiting() == 0, within)

    def close(self) -> None:
        for visitor in self._visitors:
            visitor.sock.close()
        for started in self._releases:
            started.close()
        for sock in self._sockets:
            sock.close()


def listening(path: str = "") -> socket.socket:
    """A socket as systemd makes it by default; not with TCP_NODELAY, which the server has to set."""
    sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    sock.bind(path or ("127.0.0.1", 0))
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def name_of(sock: socket.socket) -> Address:
    name: Address = sock.getsockname()
    return name


def info(sock: socket.socket, offset: int) -> int:
    """A number of TCP_INFO."""
    number: int = struct.unpack_from("=I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), offset)[0]
    return number


def backlog(sock: socket.socket) -> int:
    """The backlog in force: tcpi_sacked of a listener."""
    return info(sock, 28)


def answers(address: Address) -> str:
    """The release that answers a GET on a new connection; empty for none."""
    try:
        with Visitor(address, 2.0) as one:
            return one.send(head(Connection="close")).response().release
    except (Lost, OSError):
        return ""
