"""How each kind of HTTP request goes over connections."""

from __future__ import annotations

import asyncio
from collections import deque

import h11

from gapless.prove.client import Dialer, Lane
from gapless.prove.kinds import Answer, Kind
from gapless.prove.workload import Workload

_PADDING = 200  # bytes in each later piece of a slow upload


class HttpLoad:
    """Sends one request of a kind; each method returns the Answer or raises RequestLost or OSError.

    A keep-alive request takes an idle connection, or a new one while all are busy: the schedule never
    waits for the server.
    """

    def __init__(self, workload: Workload, dialer: Dialer) -> None:
        self._workload = workload
        self._dialer = dialer
        kept = (Kind.GET, Kind.POST, Kind.LONG)
        self._idle: dict[Kind, deque[Lane]] = {kind: deque() for kind in kept}
        self._opened = dict.fromkeys(kept, 0)
        self._headers = {
            "host": workload.authority,
            "user-agent": "gapless-probe",
            **{name.lower(): value for name, value in workload.headers.items()},
        }

    async def new(self, due: float, id_: str) -> Answer:  # noqa: ARG002  (all kinds are called alike)
        lane = await self._dialer.dial()
        try:
            lane.send(self._request(Kind.NEW), h11.EndOfMessage())
            return await lane.outcome
        finally:
            lane.close()

    async def page(self, due: float, id_: str) -> Answer:  # noqa: ARG002
        lane = await self._dialer.dial()
        lane.keeps_body = True
        try:
            lane.send(self._request(Kind.PAGE), h11.EndOfMessage())
            return await lane.outcome
        finally:
            lane.close()

    async def asset(self, target: str) -> Answer:
        lane = await self._dialer.dial()
        try:
            lane.send(h11.Request(method="GET", target=target, headers=[*self._headers.items()]), h11.EndOfMessage())
            return await lane.outcome
        finally:
            lane.close()

    async def get(self, due: float, id_: str) -> Answer:  # noqa: ARG002
        return await self._keep_alive(Kind.GET, self._request(Kind.GET), h11.EndOfMessage())

    async def long(self, due: float, id_: str) -> Answer:  # noqa: ARG002
        return await self._keep_alive(Kind.LONG, self._request(Kind.LONG), h11.EndOfMessage())

    async def post(self, due: float, id_: str) -> Answer:  # noqa: ARG002
        body = b'{"id": "%s"}' % id_.encode()
        return await self._keep_alive(
            Kind.POST, self._request(Kind.POST, len(body)), h11.Data(body), h11.EndOfMessage()
        )

    async def pause(self, due: float, id_: str) -> Answer:  # noqa: ARG002
        lane = await self._dialer.dial()
        try:
            await _until(due + self._workload.pause_seconds, lane)
            lane.send(self._request(Kind.PAUSE), h11.EndOfMessage())
            return await lane.outcome
        finally:
            lane.close()

    async def slow(self, due: float, id_: str) -> Answer:
        pieces = _pieces(id_, self._workload.upload_pieces)
        step = self._workload.upload_seconds / (len(pieces) - 1)
        lane = await self._dialer.dial()
        try:
            lane.send(self._request(Kind.SLOW, sum(map(len, pieces))), h11.Data(pieces[0]))
            for number, piece in enumerate(pieces[1:], start=1):
                await _until(due + number * step, lane)
                lane.send(h11.Data(piece))
            lane.send(h11.EndOfMessage())
            return await lane.outcome
        finally:
            lane.close()

    async def _keep_alive(self, kind: Kind, *events: h11.Event) -> Answer:
        lane = await self._take(kind)
        idle = self._idle[kind]
        try:
            lane.send(*events)
            answer = await lane.outcome
        except BaseException:  # a time-out too: what is still to come would answer the next request
            lane.abort()
            raise
        if len(idle) < self._workload.lanes and lane.renew():
            idle.append(lane)
        else:
            lane.close()
        return answer

    async def _take(self, kind: Kind) -> Lane:
        idle = self._idle[kind]
        if self._opened[kind] < self._workload.lanes:  # at first one each, so that several stay open and take turns
            self._opened[kind] += 1
            return await self._dialer.dial()
        while idle:
            lane = idle.popleft()
            if lane.usable():
                return lane
            lane.close()
        return await self._dialer.dial()

    def _request(self, kind: Kind, length: int | None = None) -> h11.Request:
        headers = list(self._headers.items())
        if length is not None:
            headers += [("content-type", "application/json"), ("content-length", str(length))]
        method = "GET" if length is None else "POST"
        return h11.Request(method=method, target=self._workload.target(kind), headers=headers)


async def _until(moment: float, lane: Lane) -> None:
    """Wait for the moment, or for the end of the lane if that comes first."""
    delay = moment - asyncio.get_running_loop().time()
    await asyncio.wait((lane.outcome,), timeout=max(delay, 0))


def _pieces(id_: str, count: int) -> list[bytes]:
    """The body `{"id": …, "padding": …}`, with the id in the first piece."""
    padding = [b"." * _PADDING] * (count - 2)
    return [b'{"id": "%s", "padding": "' % id_.encode(), *padding, b'"}']
