"""What a retiring instance does with the connections it accepted: each gets its answer, or its whole budget."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Any

from gapless.serve.afterwork import Afterwork
from gapless.serve.busy import Kind, Work, is_blocked, is_queued, is_websocket
from gapless.serve.connections import Http
from gapless.serve.refusal import refuse
from gapless.serve.settings import Settings

log = logging.getLogger("gapless.serve")

TICK = 0.05  # seconds between looks: only while draining
GRACE = 2.0  # seconds a connection has to flush after its budget, before it is reset; and its handler to hear of it


class Drain:
    """Serves what `http` has accepted until it is complete or its budget ends; `hurry` ends all budgets at once.

    A response that has begun is a stream: server-sent events, but also a long download, which deserves as long.
    WebSockets are closed with 1012 (service restart), spread evenly over the first half of the streams budget,
    so that the clients do not all come back in one moment.
    """

    def __init__(self, http: Http, settings: Settings) -> None:
        self.http = http
        self.settings = settings
        self.cut: Counter[Kind] = Counter()  # what did not complete within its budget
        self._began = time.monotonic()
        self._hurried = False
        self._condemned: dict[Any, float] = {}  # closed by us, may still be flushing; since when
        self._work: dict[Any, Work] = {}  # what each connection is busy with
        self._afterwork = Afterwork(http, settings.requests, GRACE)
        self._websockets = 0
        self._restarted = 0

    def hurry(self) -> None:
        """End every budget now (a second SIGTERM)."""
        self._hurried = True

    async def run(self) -> None:
        """Return when no connection and no task is left."""
        self.http.say_close()
        self._websockets = sum(is_websocket(protocol) for protocol in self.http.connections)
        with self._afterwork:
            while self.http.connections or self._afterwork.left():
                self._look(time.monotonic() - self._began)
                self._afterwork.look(hurried=self._hurried)
                await asyncio.sleep(TICK)
        for kind, count in self.cut.items():
            log.warning("drain: %d cut off at the end of the budget (%s)", count, kind)

    def _look(self, elapsed: float) -> None:
        self._restart_websockets(elapsed)
        before, self._work = self._work, {}
        for protocol in list(self.http.connections):
            if protocol in self._condemned:
                if elapsed - self._condemned[protocol] > GRACE:
                    protocol.transport.abort()
                continue
            work = self._work[protocol] = Work.seen(protocol, before.get(protocol), elapsed)
            if self._hurried or elapsed >= work.end(self.settings):
                self._end(protocol, work, elapsed)

    def _end(self, protocol: Any, work: Work, elapsed: float) -> None:
        self._condemned[protocol] = elapsed
        if work.kind in (Kind.REQUEST, Kind.STREAM):
            self.cut[work.kind] += 1
            self._afterwork.cut(work.what)
        if work.kind is Kind.REQUEST and not is_queued(protocol):
            refuse(protocol, self.http.state.default_headers)
        elif work.kind is Kind.STREAM and is_websocket(protocol):
            protocol.shutdown()
        else:
            protocol.transport.close()

    def _restart_websockets(self, elapsed: float) -> None:
        """Send close code 1012 to as many as are due by now, the first at once; not where the client does not read."""
        share = elapsed / (self.settings.streams / 2) if self.settings.streams and not self._hurried else 1.0
        due = int(share * self._websockets) + 1
        for protocol in list(self.http.connections):
            if not is_websocket(protocol) or not protocol.handshake_complete or protocol in self._condemned:
                continue
            if is_blocked(protocol):
                continue
            if self._restarted >= due and share < 1.0:
                return
            self._condemned[protocol] = elapsed
            self._restarted += 1
            protocol.shutdown()
