"""What a retiring instance does with the connections it accepted: each gets its answer, or its whole budget."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Any

from gapless.serve.afterwork import Afterwork
from gapless.serve.busy import Kind, Work, is_blocked, is_queued, is_waiting, is_websocket, whatever_it_is
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
        self._work: dict[Any, Work] = {}  # what each connection is busy with
        self._afterwork = Afterwork(http, settings.requests, GRACE)
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
        with self._afterwork:
            while self.http.connections or self._afterwork.left():
                self._look(time.monotonic() - self._began)
                self._afterwork.look(hurried=self._hurried)
                await asyncio.sleep(TICK)
        for kind, count in self.cut.items():
            log.warning("drain: %d cut off at the end of the budget (%s)", count, kind)

    def _hold(self) -> None:
        for protocol in self.http.connections - self._held:
            with whatever_it_is(protocol):
                if is_waiting(protocol) and not protocol.transport.is_closing():
                    self._held.add(protocol)
                    protocol.transport.pause_reading()
                    protocol._unset_keepalive_if_required()  # its time stands still

    def _look(self, elapsed: float) -> None:
        self._restart_websockets(elapsed)
        if self._holds_since is not None:
            self._hold()
        before, self._work = self._work, {}
        for protocol in list(self.http.connections):
            with whatever_it_is(protocol):
                self._look_at(protocol, before, elapsed)

    def _look_at(self, protocol: Any, before: dict[Any, Work], elapsed: float) -> None:
        if protocol.turned_away:
            return  # the door sees to it
        if protocol in self._condemned:
            if time.monotonic() - self._condemned[protocol] > GRACE:
                protocol.transport.abort()
            return
        if protocol in self._held:
            self._work |= {protocol: before[protocol]} if protocol in before else {}
            return
        work = self._work[protocol] = Work.seen(protocol, before.get(protocol), elapsed)
        if self._hurried or work.is_over(protocol, self.settings, elapsed):
            self._end(protocol, work)

    def _end(self, protocol: Any, work: Work) -> None:
        self._condemned[protocol] = time.monotonic()
        if work.kind in (Kind.REQUEST, Kind.STREAM):
            self.cut[work.kind] += 1
            self._afterwork.cut(work.what)
        if work.kind is Kind.REQUEST and not is_queued(protocol):
            refuse(protocol, self.http.state.default_headers)
        elif work.kind is Kind.STREAM and is_websocket(protocol) and not protocol.transport.is_closing():
            protocol.shutdown()
        else:
            protocol.transport.close()

    def _restart_websockets(self, elapsed: float) -> None:
        """Send close code 1012 to as many as are due by now, the first at once; not where the client does not read."""
        at_once = self._hurried or self._holds_since is not None or not self.settings.streams
        share = 1.0 if at_once else elapsed / (self.settings.streams / 2)
        due = int(share * self._websockets) + 1
        for protocol in list(self.http.connections):
            if not is_websocket(protocol) or not protocol.handshake_complete or protocol in self._condemned:
                continue
            if is_blocked(protocol) or protocol.transport.is_closing():
                continue
            if self._restarted >= due and share < 1.0:
                return
            self._condemned[protocol] = time.monotonic()
            self._restarted += 1
            with whatever_it_is(protocol):
                protocol.shutdown()
