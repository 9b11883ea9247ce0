"""The manager's part in the battery: it holds a socket, starts a server's command on it, and hears what it notifies.

Nothing here knows which server it is: a command that takes LISTEN_FDS and NOTIFY_SOCKET, an app of `apps`, and the
budgets of its drain are all that is asked.
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import Started, address, keep_alive_client, listening, start

APPS = Path(__file__).parent / "apps"


@dataclass(frozen=True)
class Server:
    """How a server is started.

    `argv` may name {app}, {threads}, and in seconds {linger}, {requests}, {streams}, and what visitors may take: {head}
    and {body}.
    """

    argv: tuple[str, ...]
    apps: Mapping[str, str] = field(default_factory=dict)  # an app of the battery -> how this server names it

    def command(self, app: str, settings: Mapping[str, float]) -> list[str]:
        values = {"app": self.apps.get(app, app), **{key: f"{value:g}" for key, value in settings.items()}}
        return [part.format(**values) for part in self.argv]


BUDGETS = ("--linger", "{linger}", "--requests", "{requests}", "--streams", "{streams}")
DOOR = ("--head-timeout", "{head}", "--body-timeout", "{body}")
GAPLESS = Server((sys.executable, "-m", "gapless", "serve", "{app}", "--threads", "{threads}", *BUDGETS, *DOOR))


class Served:
    """One instance that serves on a socket which the test holds."""

    def __init__(
        self, run: start, folder: Path, server: Server, app: str, settings: Mapping[str, float], env: Mapping[str, str]
    ) -> None:
        self.sock = listening()
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(folder / "notify"))
        self._manager.settimeout(30)
        env = {**env, "NOTIFY_SOCKET": str(folder / "notify")}
        self.process: Started = run(*server.command(app, settings), sockets=[self.sock], env=env, cwd=APPS)
        self.hears("READY=1")

    def close(self) -> None:
        self.sock.close()
        self._manager.close()

    def hears(self, message: str) -> None:
        """Wait until the server has notified `message`."""
        while message not in self._manager.recv(4096).decode().splitlines():
            pass

    def retire(self) -> float:
        """SIGTERM; returns when the server says that it stops, with the time on the monotonic clock."""
        self.process.kill(signal.SIGTERM)
        began = time.monotonic()
        self.hears("STOPPING=1")
        return began

    def says(self, text: str) -> None:
        """Wait until the app, or the server, has said `text`."""
        self.process.says(text)

    @property
    def port(self) -> int:
        return address(self.sock)[1]

    @contextlib.contextmanager
    def visitor(self) -> Iterator[socket.socket]:
        """A connection to write bytes to."""
        with socket.create_connection(address(self.sock), timeout=30) as sock:
            yield sock

    def client(self) -> contextlib.AbstractContextManager[http.client.HTTPConnection]:
        """A client with one connection."""
        return keep_alive_client(self.sock)


def read_all(sock: socket.socket) -> bytes:
    """Everything that still comes."""
    return b"".join(iter(lambda: sock.recv(2**16), b""))
