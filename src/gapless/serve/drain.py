"""What a retiring instance does with the connections it accepted: each gets its answer, or its whole budget."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections import Counter
from typing import Any

from gapless.serve.connections import Http
from gapless.serve.settings import Settings

log = logging.getLogger("gapless.serve")

TICK = 0.05  # seconds between looks: only while draining
GRACE = 2.0  # seconds a connection has to flush after its budget, before it is reset


class Kind(enum.StrEnum):
    """What a connection is busy with; each kind has a budget."""

    UNREAD = "accepted, nothing read yet"
    IDLE = "idle after a response"
    REQUEST = "request under way"
    STREAM = "response or WebSocket under way"


def kind_of(protocol: Any) -> Kind:
    """Read off a uvicorn protocol what its connection is busy with."""
    if is_websocket(protocol):
        return Kind.STREAM if protocol.handshake_complete else Kind.REQUEST
    if protocol.cycle is None:
        return Kind.UNREAD
    if protocol.cycle.response_complete:
        return Kind.IDLE
    return Kind.STREAM if protocol.cycle.response_started else Kind.REQUEST


def is_websocket(protocol: Any) -> bool:
    """True for a connection that was upgraded (or is being upgraded) to a WebSocket."""
    return hasattr(protocol, "handshake_complete")


class Drain:
    """Serves what `http` has accepted until it is complete or its budget ends; `hurry` ends all budgets at once.

    A response that has begun is a stream: server-sent events, but also a long download, which deserves as long.
    WebSockets are closed with 1012 (service restart), spread evenly over the first half of the streams budget,
    so that the clients do not all come back in one moment; all at once where it is to `hold`.
    """

    def __init__(self, http: Http, settings: Settings) -> None:
        self.http = http
        self.settings = settings
        self.cut: Counter[Kind] = Counter()  # what did not complete within its budget
        self._began = time.monotonic()
        self._hurried = False
        self._held: set[Any] = set()  # nothing is read from them
        self._holds_since: float | None = None
        self._condemned: dict[Any, float] = {}  # closed by us, may still be flushing; since when
        self._turns: dict[Any, tuple[object, float]] = {}  # which request is under way on it (None: none), since when
        self._websockets = 0
        self._restarted = 0

    def hurry(self) -> None:
        """End every budget now (a second SIGTERM)."""
        self._hurried = True

    @property
    def held(self) -> set[Any]:
        """The connections that are open, and on which nothing is read: the next request waits in the kernel."""
        return self._held & self.http.connections

    def hold(self, on: bool) -> None:
        """Read nothing from connections without a request; or go on where it was when that began."""
        if on and self._holds_since is None:
            self._holds_since = time.monotonic()
            self._hold()  # now: a request that comes from here on waits
        elif not on and self._holds_since is not None:
            self._began += time.monotonic() - self._holds_since
            self._holds_since = None
            for protocol in self.held:
                protocol.transport.resume_reading()
            self._held.clear()

    async def run(self) -> None:
        """Return when no connection and no task is left."""
        self.http.say_close()
        self._websockets = sum(is_websocket(protocol) for protocol in self.http.connections)
        while self.http.connections:
            self._look(time.monotonic() - self._began)
            await asyncio.sleep(TICK)
        await self._finish_tasks()
        for kind, count in self.cut.items():
            log.warning("drain: %d cut off at the end of the budget (%s)", count, kind)

    def _hold(self) -> None:
        for protocol in self.http.connections - self._held:
            if kind_of(protocol) in (Kind.UNREAD, Kind.IDLE) and not protocol.transport.is_closing():
                self._held.add(protocol)
                protocol.transport.pause_reading()
                protocol._unset_keepalive_if_required()  # its time stands still

    def _look(self, elapsed: float) -> None:
        self._restart_websockets(elapsed)
        if self._holds_since is not None:
            self._hold()
        for protocol in list(self.http.connections):
            if protocol in self._condemned:
                if time.monotonic() - self._condemned[protocol] > GRACE:
                    protocol.transport.abort()
                continue
            if protocol in self._held:
                continue
            kind = kind_of(protocol)
            if elapsed >= self._end(kind, self._since(protocol, kind, elapsed)):
                self._condemned[protocol] = time.monotonic()
                if kind in (Kind.REQUEST, Kind.STREAM):
                    self.cut[kind] += 1
                protocol.transport.close()

    def _since(self, protocol: Any, kind: Kind, elapsed: float) -> float:
        """When the connection began to wait, or its request came: 0 for what was so when the drain began.

        A response that did not say close leaves its connection idle, and its client may use that again.
        """
        request = getattr(protocol, "cycle", protocol) if kind in (Kind.REQUEST, Kind.STREAM) else None
        before, since = self._turns.get(protocol, (request, 0.0))
        self._turns[protocol] = (request, since if request is before else elapsed)
        return self._turns[protocol][1]

    def _end(self, kind: Kind, since: float) -> float:
        """When its budget ends; a request has the whole of it, however late in the drain it came."""
        if self._hurried:
            return 0.0
        match kind:
            case Kind.IDLE:
                return since + self.settings.linger
            case Kind.UNREAD:  # its client may be a slow sender, or a proxy's spare connection
                return max(self.settings.linger, self.settings.requests)
            case Kind.REQUEST:
                return since + self.settings.requests
            case Kind.STREAM:
                return max(self.settings.streams, since + self.settings.requests)

    def _restart_websockets(self, elapsed: float) -> None:
        """Send close code 1012 to as many as are due by now; the first at once."""
        at_once = self._hurried or self._holds_since is not None or not self.settings.streams
        share = 1.0 if at_once else elapsed / (self.settings.streams / 2)
        due = int(share * self._websockets) + 1
        for protocol in list(self.http.connections):
            if not is_websocket(protocol) or not protocol.handshake_complete or protocol in self._condemned:
                continue
            if self._restarted >= due and share < 1.0:
                return
            self._condemned[protocol] = time.monotonic()
            self._restarted += 1
            protocol.shutdown()

    async def _finish_tasks(self) -> None:
        """Background work that an app does after its response has the requests budget, too."""
        deadline = max(self._began + self.settings.requests, time.monotonic() + GRACE)
        while self.http.tasks and not self._hurried and time.monotonic() < deadline:
            await asyncio.wait(self.http.tasks, timeout=TICK)
        for task in list(self.http.tasks):
            log.warning("drain: work that outlived its response is cut off: %s", task)
            task.cancel()
        if self.http.tasks:
            await asyncio.wait(self.http.tasks, timeout=GRACE)
