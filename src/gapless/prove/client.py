"""One HTTP/1.1 connection: sends one request at a time and tells exactly how it ended. It never retries."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import sys

import h11

from gapless.errors import GaplessError
from gapless.prove.kinds import LONGEST_LOCATION, LONGEST_RELEASE, Answer, Failure, RequestLost
from gapless.prove.workload import Workload

LONGEST = 1 << 20  # bytes of a page that are looked at


class Lane(asyncio.Protocol):
    """A connection whose `outcome` becomes the Answer to the request sent, or raises RequestLost.

    `ended` is done once its socket is closed; `open_lanes` holds it until then. asyncio sets TCP_NODELAY on
    every TCP socket that it connects, so a request of several writes does not wait for acknowledgements.
    """

    outcome: asyncio.Future[Answer]
    keeps_body = False

    def __init__(self, release_header: str, open_lanes: set[Lane]) -> None:
        self._http = h11.Connection(h11.CLIENT)
        self._release_header = release_header.lower().encode()
        self._open_lanes = open_lanes
        self._transport: asyncio.Transport
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begin()

    def _begin(self) -> None:
        self.outcome = asyncio.get_running_loop().create_future()
        self._heard = False  # a byte of the response
        self._status = 0
        self._release = ""
        self._location = ""
        self._body = bytearray()

    def send(self, *events: h11.Event) -> None:
        """Write the events in one piece; a lane that is already lost or answered writes nothing."""
        if not self.outcome.done():
            self._transport.write(b"".join(self._http.send(event) or b"" for event in events))

    def renew(self) -> bool:
        """Make the connection ready for the next request; False if this connection cannot carry another."""
        http = self._http
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE or http.trailing_data[0]:
            return False  # `Connection: close`, an answer before the upload's end, bytes too many
        if self._transport.is_closing():
            return False
        http.start_next_cycle()
        self._begin()
        return True

    def usable(self) -> bool:
        """Whether nothing has arrived on the idle connection, neither its end nor stray bytes.

        Asks the kernel, not only the event loop: a FIN that is already here when the request would
        leave is one that any careful client (curl, nginx, Go) sees, and not a loss.
        """
        if self.outcome.done() or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return not poll.poll(0)

    def fileno(self) -> int:
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (for mypy)
        self._transport = transport
        self._open_lanes.add(self)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        self._read(data)

    def eof_received(self) -> None:
        if self._heard:
            self._read(b"")  # the end of a body without a length, or one cut short
        else:
            self._lose(Failure.CLOSED, "the server closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        cause = str(exc) if exc else "the server closed the connection"
        if self._heard:
            self._lose(Failure.TRUNCATED, cause)
        else:
            self._lose(Failure.RESET if exc else Failure.CLOSED, cause)
        self._open_lanes.discard(self)
        self.ended.set_result(None)

    def _read(self, data: bytes) -> None:
        if self.outcome.done():
            return
        if self._http.our_state is h11.IDLE:  # nobody asked; a 408 before the close, say
            self._lose(Failure.MALFORMED, f"the server spoke before the request: {data[:40]!r}")
            self._transport.close()
            return
        try:
            self._http.receive_data(data)
            while not self.outcome.done():
                event = self._http.next_event()
                if isinstance(event, type):  # NEED_DATA or PAUSED
                    return
                self._take(event)
        except h11.RemoteProtocolError as error:
            self._lose(Failure.MALFORMED if data else Failure.TRUNCATED, str(error))
            self._transport.abort()

    def _take(self, event: h11.Event) -> None:
        if isinstance(event, h11.Response):
            self._status = event.status_code
            for name, value in event.headers:
                if name == self._release_header:
                    self._release = sys.intern(value.decode("latin-1")[:LONGEST_RELEASE])
                elif name == b"location":
                    self._location = sys.intern(value.decode("latin-1")[:LONGEST_LOCATION])
        elif isinstance(event, h11.Data) and self.keeps_body:
            self._body += event.data[: LONGEST - len(self._body)]
        elif isinstance(event, h11.EndOfMessage):
            if 200 <= self._status < 300:
                self.outcome.set_result(Answer(self._status, self._release, body=bytes(self._body)))
            else:
                self._lose(Failure.STATUS, "")
        elif isinstance(event, h11.ConnectionClosed):
            self._lose(Failure.CLOSED, "the server closed the connection")

    def _lose(self, failure: Failure, detail: str) -> None:
        if self.outcome.done():
            return
        if self._status and not 200 <= self._status < 300:
            cut = "" if failure is Failure.STATUS else f"; {detail}"
            leads = f" to {self._location}" if self._location else ""
            failure, detail = Failure.STATUS, f"status {self._status}{leads}{cut}"  # a 502 cut short is a 502
        self.outcome.set_exception(RequestLost(failure, detail, self._status, self._release, self._location))
        self.outcome.exception()  # seen: an idle lane may be lost without anybody asking


class Dialer:
    """Opens lanes to one address and closes all that are left."""

    def __init__(self, workload: Workload, address: str) -> None:
        self._workload = workload
        self._address = address
        self._tls = ssl.create_default_context() if workload.tls else None
        self._open: set[Lane] = set()

    async def dial(self) -> Lane:
        """Connect; raises OSError."""
        workload = self._workload
        _, lane = await asyncio.get_running_loop().create_connection(
            lambda: Lane(workload.release_header, self._open),
            self._address,
            workload.port,
            ssl=self._tls,
            server_hostname=workload.host if workload.tls else None,
        )
        return lane

    async def close(self) -> None:
        """Close every lane, and return when their sockets are closed."""
        left = list(self._open)
        for lane in left:
            lane.abort()
        await asyncio.gather(*(lane.ended for lane in left))


async def resolve(workload: Workload) -> str:
    """The one IP address that the whole probe talks to: the first of the host's that accepts a connection.

    Looked up once: a look-up for each connection would measure the resolver. Raises GaplessError.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(workload.host, workload.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise GaplessError("look up", workload.host, str(error), "check the host in the URL") from None
    addresses = [str(info[4][0]) for info in found]
    if len(addresses) > 1:  # `localhost` is two, and the server may listen on one of them
        for address in addresses:
            try:
                async with asyncio.timeout(2):
                    transport, _ = await loop.create_connection(asyncio.Protocol, address, workload.port)
            except OSError:
                continue
            transport.close()
            return address
    return addresses[0]
