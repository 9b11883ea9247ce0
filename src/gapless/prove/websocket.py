"""WebSocket messages that wait for their echo, over connections that stay open."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from gapless.prove.kinds import LONGEST_RELEASE, Answer, Failure, Kind, RequestLost, lost_to
from gapless.prove.workload import Workload

SERVICE_RESTART = 1012
_BROKEN = 1006  # what RFC 6455 calls an end without a close frame


class Restarted(Exception):  # noqa: N818
    """The server closed the connection with 1012 while a message was under way."""


class _Connect(connect):
    """A handshake that follows no redirect: that is an answer, and somebody else's address perhaps."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Raise it."""
        return exc


class _Connection(ClientConnection):
    """A connection that ends where the server reads nothing: to answer its pings would take memory without an end."""

    def pause_writing(self) -> None:
        """Give up: what we send by ourselves is far less than waits by now."""
        self.loop.call_soon(self.transport.abort)  # what was read is answered before


class _Link:
    """One open connection and the messages that wait for their echo on it."""

    def __init__(self, connection: ClientConnection, release_header: str) -> None:
        response = connection.response
        named = response.headers.get(release_header, "") if response else ""
        self.release = sys.intern(named[:LONGEST_RELEASE])
        self.connection = connection
        self.end: ConnectionClosed | None = None
        self.used = False
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def ask(self, id_: str) -> None:
        """Send and wait for the echo; raises Restarted or RequestLost. Not for a link that has ended."""
        echo = self._waiting[id_] = asyncio.get_running_loop().create_future()
        try:
            # If it ends now, `read` sees that too and says what it means for every message under way.
            with contextlib.suppress(ConnectionClosed):
                await self.connection.send(id_)
            await echo
        finally:
            del self._waiting[id_]

    async def read(self) -> ConnectionClosed:
        """Hand out echoes until the connection ends, then tell every message still waiting."""
        try:
            while True:
                text = await self.connection.recv(decode=True)
                for id_, echo in self._waiting.items():
                    if id_ in text and not echo.done():
                        echo.set_result(None)
                        self.used = True
                        break
        except ConnectionClosed as gone:
            self.end = gone
            for echo in self._waiting.values():
                if not echo.done():
                    echo.set_exception(Restarted() if _code(gone) == SERVICE_RESTART else _lost(gone))
            return gone


class Channel:
    """A place for one connection: opened when first needed, and again after it ended.

    A message carries a unique id and is answered by any message that contains it. The contract with the
    server: close code 1012 (service restart) is a legal end. The client connects again at once and sends
    the messages under way again, so an app may see such a message twice; this is the protocol's way to
    hand a stream over, not a retry of the probe. Any other end while a message is unanswered loses it.
    """

    def __init__(self, workload: Workload, address: str, closes: Counter[int]) -> None:
        self._workload = workload
        self._address = address
        self._closes = closes
        self._opening: asyncio.Task[_Link] | None = None
        self._reading: set[asyncio.Task[None]] = set()

    async def ask(self, id_: str) -> Answer:
        """Send the message and wait for its echo; raises RequestLost."""
        resent = 0
        while True:
            link = await self._link()
            if link.end is not None:
                continue  # it ended before the message left: nothing was lost, connect again
            try:
                await link.ask(id_)
            except Restarted:
                resent += 1
            else:
                return Answer(101, link.release, resent)

    async def close(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait((opening,))
            link = _opened(opening)
            if link is not None:
                await link.connection.close()
        await asyncio.gather(*self._reading)

    async def _link(self) -> _Link:
        # All messages that are due share one attempt; one of them timing out must not cancel it for the rest.
        return await asyncio.shield(self._opening or self._open())

    def _open(self) -> asyncio.Task[_Link]:
        self._opening = opening = asyncio.create_task(self._connect())
        opening.add_done_callback(self._attempted)
        return opening

    def _attempted(self, opening: asyncio.Task[_Link]) -> None:
        if _opened(opening) is None and self._opening is opening:
            self._opening = None  # the next message tries again

    async def _connect(self) -> _Link:
        link = _Link(await _connect(self._workload, self._address), self._workload.release_header)
        reading = asyncio.create_task(self._read(link))
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)
        return link

    async def _read(self, link: _Link) -> None:
        gone = await link.read()
        if self._opening is None:
            return  # closed by us, at the end of the probe
        self._opening = None
        self._closes[_code(gone)] += 1
        # At once, message or not. Not for a link that never worked: a server that closes each new connection
        # would be hammered. A failure to connect shows in the next message.
        if _code(gone) == SERVICE_RESTART and link.used:
            self._open()


async def _connect(workload: Workload, address: str) -> ClientConnection:
    try:
        return await _Connect(
            workload.asked(Kind.WS),
            host=address,
            port=workload.port,
            additional_headers=dict(workload.headers),
            user_agent_header="gapless-probe",
            compression=None,
            proxy=None,  # measure the server that was named, whatever the environment says
            open_timeout=workload.timeout_seconds,
            ping_interval=None,
            close_timeout=1,
            create_connection=_Connection,
        )
    except InvalidStatus as refusal:
        status = refusal.response.status_code
        release = refusal.response.headers.get(workload.release_header, "")
        raise RequestLost(Failure.STATUS, f"handshake status {status}", status, release) from None
    except InvalidHandshake as wrong:
        ended = isinstance(wrong, InvalidMessage) and isinstance(wrong.__cause__, EOFError)
        raise RequestLost(Failure.CLOSED if ended else Failure.MALFORMED, f"handshake: {wrong}") from None
    except OSError as error:
        raise lost_to(error) from None


def _opened(opening: asyncio.Task[_Link]) -> _Link | None:
    """The link, if the attempt has worked; looking at the exception also marks it as seen."""
    if not opening.done() or opening.cancelled() or opening.exception() is not None:
        return None
    return opening.result()


def _code(gone: ConnectionClosed) -> int:
    return gone.rcvd.code if gone.rcvd else _BROKEN


def _lost(gone: ConnectionClosed) -> RequestLost:
    if gone.rcvd is not None:
        return RequestLost(Failure.CLOSED, f"close code {gone.rcvd.code} {gone.rcvd.reason}".strip())
    if isinstance(gone.__cause__, ConnectionResetError):
        return RequestLost(Failure.RESET, f"close code {_BROKEN}: {gone.__cause__}")
    return RequestLost(Failure.CLOSED, f"close code {_BROKEN}: no close frame")
