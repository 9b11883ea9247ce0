"""uvicorn's protocols, which note for the door how much of a message came and since when, and keep memory bounded.

uvicorn takes a head of any size, queues every request that is in what it read, keeps each fragment of a WebSocket
message by itself, the empty ones too, and the answer to each ping until it is taken.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl

from gapless.serve.door import Door, Turned

PART = 4096  # bytes that are parsed at a time: some hundred requests at most, and so exact is the limit of a head
UNTAKEN = 1 << 20  # bytes that a client has not taken: no further ping of its is answered


def guard(config: uvicorn.Config, door: Door) -> None:
    """Have the protocols of `config`, which is loaded, report to `door`."""
    http = config.http_protocol_class
    of_http: Any = _Httptools if hasattr(http, "on_message_begin") else _H11
    config.http_protocol_class = type("Http", (of_http, http), {"door": door})
    if websocket := config.ws_protocol_class:
        sansio = hasattr(websocket, "handle_cont") and hasattr(websocket, "send_receive_event_to_app")
        config.ws_protocol_class = type("WebSocket", (_SansIo if sansio else _Guarded, websocket), {})


class _Guarded:
    """What the door looks at; `since` is when the first byte of what is unfinished came, or when it was turned away."""

    turned_away = False
    unfinished = 0  # bytes that came, and completed neither a head nor brought a part of a body
    since = 0.0
    stalls_since = 0.0  # when it was first seen that no part of the body comes; 0: one came
    in_message = False  # its head has begun, and the end of its body has not come
    is_unread = False
    in_head = False
    made = 0.0


class _Http(_Guarded):
    """An HTTP connection, before it is one of the two kinds."""

    door: Door
    cycle: Any
    flow: Any
    transport: Any
    pipeline: Any = ()
    server_state: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        self.made = self.door.now()

    @property
    def is_unread(self) -> bool:  # type: ignore[override]
        """Whether not a byte came on it."""
        return self.cycle is None and not self.in_message and not self.unfinished

    @property
    def responds(self) -> bool:
        """Whether the request before is still being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def waits_for_us(self) -> bool:
        """Whether its client cannot go on with a body before we do."""
        return bool(self.flow.read_paused or (self.responds and self.cycle.waiting_for_100_continue))

    def _note(self, length: int, *, complete: bool) -> None:
        """`length` bytes came; `complete`: among them the end of a head, or a part of a body."""
        if complete:
            self.unfinished = 0
            if not self.in_head:
                return
            length = 1  # how much of it is the head's is not known: what comes from here on counts
        if not self.unfinished:
            self.since = self.door.now()
        self.unfinished += length
        if self.unfinished >= self.door.settings.head_size and not self.turned_away:
            self.door.turn_away(self, Turned.LARGE_HEAD, self.server_state.default_headers)


class _Flow(FlowControl):
    """Reads on only when what was read before is parsed."""

    def __init__(self, transport: asyncio.Transport, owner: _Httptools) -> None:
        super().__init__(transport)
        self.owner = owner

    def resume_reading(self) -> None:
        if not self.owner.later:
            super().resume_reading()


class _Httptools(_Http):
    """What stands before uvicorn's HttpToolsProtocol."""

    scope: Any
    later: Any = b""  # read, and not parsed before the requests in front of it are answered
    _moved = False  # a part of a body came, or its end

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flow = _Flow(transport, self)

    def data_received(self, data: bytes) -> None:
        if len(data) > PART or self.later:
            self.later = bytearray(self.later + data)
            self._parse()
        else:
            self._take(data)

    def on_message_begin(self) -> None:
        self.in_message = True
        super().on_message_begin()  # type: ignore[misc]

    def on_body(self, body: bytes) -> None:
        self._moved, self.stalls_since = True, 0.0
        super().on_body(body)  # type: ignore[misc]

    def on_message_complete(self) -> None:
        self._moved, self.in_message, self.stalls_since = True, False, 0.0
        super().on_message_complete()  # type: ignore[misc]

    def on_response_complete(self) -> None:
        super().on_response_complete()  # type: ignore[misc]
        if self.later:
            self._parse()
            if not self.later and not self.pipeline:
                self.flow.resume_reading()

    @property
    def in_head(self) -> bool:  # type: ignore[override]
        """Whether what comes next is a head, or the rest of one."""
        return not self.in_message or self.cycle is None or self.scope is not self.cycle.scope

    def _take(self, part: bytes) -> None:
        cycle, self._moved = self.cycle, False
        super().data_received(part)  # type: ignore[misc]
        complete = self._moved or self.cycle is not cycle
        if not complete or self.in_message:
            self._note(len(part), complete=complete)
        else:
            self.unfinished = 0

    def _parse(self) -> None:
        """Take what was read until a request has to wait for its turn."""
        self.later = bytearray(self.later)
        while self.later and not self.pipeline:
            part = bytes(self.later[:PART])
            del self.later[:PART]
            self._take(part)
            if self.transport.is_closing() or self.turned_away or self.transport.get_protocol() is not self:
                self.later = b""
        if self.later:
            self.flow.pause_reading()


class _H11(_Http):
    """What stands before uvicorn's H11Protocol, which bounds a head by itself, and waits with pipelined requests."""

    conn: Any

    @property
    def in_head(self) -> bool:  # type: ignore[override]
        return not self.in_message

    def data_received(self, data: bytes) -> None:
        cycle = self.cycle
        super().data_received(data)  # type: ignore[misc]
        self.stalls_since = 0.0
        self.in_message = self.cycle is not None and self.cycle.more_body
        waits = not self.in_message and bool(self.conn.trailing_data[0])
        if waits:
            self._note(len(data), complete=self.cycle is not cycle)
        else:
            self.unfinished = 0


class _SansIo(_Guarded):
    """What stands before uvicorn's WebSocketsSansIOProtocol."""

    conn: Any
    frames: list[Any]
    transport: Any

    def handle_cont(self, event: Any) -> None:
        """Join the fragments as they come: a list of millions that are empty is no size that has a limit."""
        if len(self.frames) == 1:
            self.frames.append(bytearray())
        self.frames[1] += event.data
        if event.fin:
            self.send_receive_event_to_app()  # type: ignore[attr-defined]

    def handle_ping(self) -> None:
        """Answer, but nobody who takes no answers: an older ping needs none once another has come, RFC 6455, 5.5.3."""
        if self.transport.get_write_buffer_size() > UNTAKEN:
            self.conn.data_to_send()
        else:
            super().handle_ping()  # type: ignore[misc]
