"""uvicorn's protocols for one group of sockets, with response headers that can change while it serves."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from email.utils import formatdate
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from gapless.errors import GaplessError
from gapless.serve.app import ASGIApp
from gapless.serve.door import Door
from gapless.serve.guarded import guard
from gapless.visitor import RELEASE_HEADER

# What a drain and the door read off uvicorn's objects, which is no promise of uvicorn's.
READ = {
    "server_state": {"connections", "tasks", "default_headers"},
    "http_protocol": {"client", "connections", "cycle", "flow", "loop", "scheme", "scope", "server", "transport"},
    "cycle": {
        "body",
        "default_headers",
        "disconnected",
        "message_event",
        "on_response",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "transport",
        "waiting_for_100_continue",
    },
    "ws_protocol": {"handshake_complete", "transport"},
}
CALLED = {  # and what they call there
    "server_state": (),
    "http_protocol": ("_unset_keepalive_if_required", "data_received", "on_response_complete"),
    "cycle": ("run_asgi",),
    "ws_protocol": ("shutdown",),
}

NUMBERS = itertools.count(1)  # of connections: the order in which they came


def verify(config: uvicorn.Config) -> None:
    """Raise GaplessError where this uvicorn has renamed what we read: a drain would lose requests without a word."""
    http, websocket = config.http_protocol_class, config.ws_protocol_class
    cycle = getattr(sys.modules[http.__module__], "RequestResponseCycle", None)
    found = {"server_state": ServerState, "http_protocol": http, "cycle": cycle, "ws_protocol": websocket}
    if websocket is None:  # no library for WebSockets is installed: there will be none
        del found["ws_protocol"]
    missing = [f"{part}.{name}" for part, of in found.items() for name in sorted(READ[part] - _set_by(of))]
    missing += [
        f"{part}.{name}" for part, of in found.items() for name in CALLED[part] if not callable(getattr(of, name, None))
    ]
    if missing:
        cause = f"version {uvicorn.__version__} has no {', '.join(missing)}, and a drain needs it"
        raise GaplessError("use", "uvicorn", cause, 'pip install "gapless[serve]" installs one that is known')


def _set_by(kind: Any) -> set[str]:
    """The names that the initializer of a class uses: the attributes that it sets are among them."""
    return set(kind.__init__.__code__.co_names) if kind is not None else set()


class Http:
    """Makes protocols for `app`; `connections` and `tasks` are what is open and under way right now.

    Visitors come through a `door`, and all to one `address` where that is known; on a private socket there is none.
    """

    def __init__(
        self,
        app: ASGIApp,
        app_state: dict[str, Any],
        release: str,
        keep_alive: float,
        door: Door | None = None,
        address: Any = None,
    ) -> None:
        headers = [(RELEASE_HEADER, release)] if release else []
        self.config = uvicorn.Config(
            app,
            interface="asgi3",
            lifespan="off",  # Lifespan runs it, once for the public and the private sockets
            log_config=None,
            access_log=False,  # the proxy in front keeps one
            # A float where uvicorn writes int: it goes to loop.call_later, and tests want short ones.
            timeout_keep_alive=keep_alive,  # type: ignore[arg-type]
            headers=headers,
            h11_max_incomplete_event_size=2 * door.settings.head_size if door else None,  # the door's comes first
        )
        self.config.load()
        verify(self.config)
        if door:
            guard(self.config, door, address)
        self.app_state = app_state
        self.state = ServerState()
        self.closing = keep_alive == 0  # or a client would send its next request to a connection that closes
        self.refresh_headers()

    @property
    def connections(self) -> set[Any]:
        return self.state.connections

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        return self.state.tasks

    def protocol(self) -> asyncio.Protocol:
        """A protocol for one new connection."""
        made: Any = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.state, app_state=self.app_state
        )
        made.number = next(NUMBERS)
        return made  # type: ignore[no-any-return]

    def refresh_headers(self) -> None:
        """Renew the Date of responses that have not begun; due once a second."""
        date = (b"date", formatdate(time.time(), usegmt=True).encode())
        self.state.default_headers = [date, *self.config.encoded_headers]
        if self.closing:
            self.state.default_headers.append((b"connection", b"close"))

    def say_close(self) -> None:
        """From now on every response says `Connection: close`, those to requests already under way included."""
        self.closing = True
        self.refresh_headers()
        for protocol in list(self.connections):
            cycle = getattr(protocol, "cycle", None)
            if cycle is not None and not cycle.response_started:
                cycle.default_headers = self.state.default_headers
