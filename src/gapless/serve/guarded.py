"""uvicorn's protocols, which note for the door how much of a message came and since when, and keep memory bounded.

uvicorn takes a head of any size, queues every request that is in what it read, keeps each fragment of a WebSocket
message by itself, the empty ones too, and the answer to each ping until it is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl

from gapless.serve.door import Door, Turned
from gapless.serve.joined import Joined
from gapless.serve.refusal import NO_HANDSHAKE, refuse

PART = 4096  # bytes that are parsed at a time: some hundred requests at most, and so exact is the limit of a head
UNTAKEN = 1 << 20  # bytes that a client has not taken: no further ping is answered; or the app: nothing is unpacked

MESSAGE_TOO_BIG = 1009  # RFC 6455, 7.4.1


def guard(config: uvicorn.Config, door: Door, address: Any = None) -> None:
    """Have the protocols of `config`, which is loaded, report to `door`; `address` is where all visitors come to."""
    http = config.http_protocol_class
    of_http: Any = _Httptools if hasattr(http, "on_message_begin") else _H11
    # Called so, and not by super(): that alone would be a third of what all this costs a request.
    called = {"receive": http.data_received, "begin": getattr(http, "on_headers_complete", None)}
    config.http_protocol_class = type("Http", (of_http, http), {"door": door, "address": address, **called})
    if websocket := config.ws_protocol_class:
        sansio = hasattr(websocket, "handle_cont") and hasattr(websocket, "send_receive_event_to_app")
        config.ws_protocol_class = type("WebSocket", (_SansIo if sansio else _Guarded, websocket), {"door": door})


class _Guarded:
    """What the door looks at; `since` is when the first byte of what is unfinished came, or when it was turned away."""

    turned_away = False
    unfinished = 0  # bytes that came, and completed neither a head nor brought a part of a body
    since = 0.0
    stalls_since = 0.0  # when it was first seen that no part of the body comes; 0: one came
    stalls: Any = None  # the request whose body that is
    in_body = False
    is_unread = False
    number = 0  # among all connections


class _Http(_Guarded):
    """An HTTP connection. What is here for every request has to be little: it costs each of them."""

    door: Door
    receive: Callable[[bytes], None]
    cycle: Any
    flow: Any
    transport: Any
    scope: Any
    pipeline: Any = ()
    server_state: Any
    on_response_complete: Any

    @property
    def in_body(self) -> bool:  # type: ignore[override]
        """Whether the end of a body has not come; also where the answer was there before, and nobody told the end."""
        cycle = self.cycle
        return cycle is not None and cycle.more_body and self.scope is cycle.scope

    @property
    def is_unread(self) -> bool:  # type: ignore[override]
        """Whether not a byte came on it."""
        return self.cycle is None and self.scope is None and not self.unfinished

    @property
    def responds(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def waits_for_us(self) -> bool:
        """Whether its client cannot go on with a body before we do."""
        return bool(self.flow.read_paused or (self.responds and self.cycle.waiting_for_100_continue))

    def note(self, length: int) -> None:
        """Remember that `length` more bytes came of what is not complete."""
        if not self.unfinished:
            self.since = self.door.now()
        self.unfinished += length
        if self.unfinished >= self.door.settings.head_size and not self.turned_away:
            self.door.turn_away(self, Turned.LARGE_HEAD, self.server_state.default_headers)


class _Httptools(_Http):
    """What stands before uvicorn's HttpToolsProtocol."""

    address: Any
    begin: Callable[[], None]
    loop: Any
    connections: set[Any]
    server: Any
    client: Any
    scheme: str
    later: Any = b""  # read, and not parsed before the requests in front of it are answered
    earlier: Any = ()  # requests before the last one that came, where the client pipelines
    _moved = False  # a part of a body came

    def connection_made(self, transport: Any) -> None:
        """Note what uvicorn notes; asked of the transport, which says it for a fifth of what a socket object costs."""
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        server, client = self.address or transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        self.server = server[:2] if isinstance(server, tuple) else (server, None) if isinstance(server, str) else None
        self.client = client[:2] if isinstance(client, tuple) else None
        self.scheme = "http"

    def on_headers_complete(self) -> None:
        before = self.cycle
        self.begin()
        if (cycle := self.cycle) is not before:
            cycle.transport = Joined(self.transport, cycle, self.loop)
            if before is not None and not before.response_complete:
                self.earlier = [*(one for one in self.earlier if not one.response_complete), before]

    def handle_websocket_upgrade(self) -> None:
        """Close where a request before it is not answered: nobody would tell that its client has gone."""
        if self.responds:
            self.transport.close()
        else:
            super().handle_websocket_upgrade()  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all requests that wait or are answered; uvicorn tells the last one."""
        super().connection_lost(exc)  # type: ignore[misc]
        for cycle in self.earlier:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.earlier = ()

    def data_received(self, data: bytes) -> None:
        if len(data) > PART or self.later or self.pipeline:
            self.later = bytearray(self.later + data)
            self._parse()
            return
        before = self.cycle
        self.receive(data)
        cycle = self.cycle
        if cycle is before or self.scope is not cycle.scope:
            self._look_into(len(data), before)
        elif self._moved or self.unfinished:  # a whole head, and no part of another
            self._moved, self.unfinished = False, 0

    def on_body(self, body: bytes) -> None:
        self._moved, self.stalls_since = True, 0.0
        super().on_body(body)  # type: ignore[misc]

    def _look_into(self, length: int, before: Any) -> None:
        """See whether `length` bytes brought anything that a request needs, which was `before` at most begun."""
        cycle, moved, self._moved = self.cycle, self._moved, False
        if cycle is before and not moved:
            if self.responds and not cycle.more_body and self.scope is cycle.scope:  # that was the end of a body
                self.unfinished = 0
            elif self.transport.get_protocol() is self:  # it may be a WebSocket now
                self.note(length)
            return
        self.unfinished = 0
        if cycle is None or self.scope is not cycle.scope:
            self.note(1)  # how much of it is the next head's is not known: what comes from here on counts

    def _parse(self) -> None:
        """Take what was read until a request has to wait for its turn."""
        self.later = bytearray(self.later)
        while self.later and not self.pipeline:
            part = bytes(self.later[:PART])
            del self.later[:PART]
            before = self.cycle
            self.receive(part)
            self._look_into(len(part), before)
            if self.transport.is_closing() or self.turned_away or self.transport.get_protocol() is not self:
                self.later = b""
        if self.later:
            self.flow.pause_reading()
            self.flow.resume_reading = self._resume_reading  # uvicorn does at each response, and each receive()
            self.cycle.on_response = self._last_answered

    def _last_answered(self) -> None:
        """Go on where a request had to wait: all those before it are answered."""
        self.on_response_complete()
        if self.transport.is_closing():  # it said so: nobody could be told what comes of another request
            self.later = b""
        self._parse()
        self._resume_reading()

    def _resume_reading(self) -> None:
        if self.later and not self.pipeline and self.responds:  # to one whose body is in there
            self._parse()
        if not self.later and not self.pipeline:
            FlowControl.resume_reading(self.flow)


class _H11(_Http):
    """What stands before uvicorn's H11Protocol, which bounds a head by itself, and waits with pipelined requests."""

    conn: Any
    loop: Any

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()  # type: ignore[misc]
        if (cycle := self.cycle) is not before:
            cycle.transport = Joined(self.transport, cycle, self.loop)  # before it wrote: its task has not begun

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        self.receive(data)
        self.stalls_since = 0.0
        if self.cycle is not before:
            self.unfinished = 0
        elif not self.in_body and self.conn.trailing_data[0]:
            self.note(len(data))

    def send_400_response(self, msg: str) -> None:
        if len(self.conn.trailing_data[0]) >= self.door.settings.head_size:
            self.door.turn_away(self, Turned.LARGE_HEAD, self.server_state.default_headers)
        else:
            super().send_400_response(msg)  # type: ignore[misc]


class _SansIo(_Guarded):
    """What stands before uvicorn's WebSocketsSansIOProtocol."""

    conn: Any
    close_sent: bool
    default_headers: list[tuple[bytes, bytes]]
    door: Door
    frames: list[Any]
    handshake_initiated: bool
    read_paused: bool
    transport: Any

    later: Any = b""  # read, and not parsed before the app has taken the messages in front of it
    _untaken = 0  # bytes of these, unpacked
    _came = 0  # bytes that came since a message began which is not whole
    _packed = 0  # by how much more it is, unpacked

    def data_received(self, data: bytes) -> None:
        """Answer a handshake that is none, or has a line of over 8 KiB or over 128 headers: nobody else does."""
        self.later = bytearray(self.later + data)
        self._parse()
        if not self.handshake_initiated and not self.transport.is_closing():
            refuse(self, self.default_headers, NO_HANDSHAKE)

    def _parse(self) -> None:
        """Take what was read while the app keeps up: unpacked it may be a thousand times as much."""
        while self.later and self._untaken <= UNTAKEN:
            part = bytes(self.later[:PART])
            del self.later[:PART]
            super().data_received(part)  # type: ignore[misc]
            if self.frames or self._packed:
                self._weigh(len(part))
            if self.transport.is_closing():
                self.later = b""

    def _weigh(self, came: int) -> None:
        size = sum(map(len, self.frames))
        self._came = self._came + came if size else 0
        packed = max(size - self._came, 0)
        if packed != self._packed:
            self._packed = packed
            self.door.weigh(self, packed)

    def refuse_message(self) -> None:
        """Close with 1009: the message that has begun is too large."""
        self._packed, self.frames = 0, []
        self.conn.fail(MESSAGE_TOO_BIG)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)  # type: ignore[misc]
        if self._packed:
            self.frames = []
            self._weigh(0)

    def send_receive_event_to_app(self) -> None:
        size = sum(map(len, self.frames))
        super().send_receive_event_to_app()  # type: ignore[misc]
        if self.read_paused:  # else it was thrown away
            self._untaken += size

    async def receive(self) -> Any:
        message = await super().receive()  # type: ignore[misc]
        self._go_on()
        return message

    async def send(self, message: Any) -> None:
        await super().send(message)  # type: ignore[misc]
        self._go_on()  # it was a close, perhaps: from then on messages are thrown away, and the client's close awaited

    def _go_on(self) -> None:
        if not self.read_paused:
            self._untaken = 0
            if self.later:
                self._parse()

    def handle_cont(self, event: Any) -> None:
        """Join the fragments as they come: a list of millions that are empty is no size that has a limit."""
        if len(self.frames) == 1:
            self.frames.append(bytearray())
        self.frames[1] += event.data
        if event.fin:
            self.send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Answer, but nobody who takes no answers: an older ping needs none once another has come, RFC 6455, 5.5.3."""
        if self.transport.get_write_buffer_size() > UNTAKEN:
            self.conn.data_to_send()
        else:
            super().handle_ping()  # type: ignore[misc]
