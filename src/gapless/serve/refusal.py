"""Refuse a request whose budget is over before its response has begun: 503 in the place of a silent close."""

from __future__ import annotations

import asyncio
from typing import Any

BODY = b"This server is being replaced and cannot answer in time. Try again.\n"


def refuse(protocol: Any, headers: list[tuple[bytes, bytes]]) -> None:
    """Answer 503 with `headers` on a uvicorn protocol's connection, tell the app of a disconnect, and close.

    A client whose body is still coming would not see the answer if the connection were closed: what comes is
    thrown away then, until it has read the answer and closes.
    """
    transport, cycle = protocol.transport, getattr(protocol, "cycle", None)
    sent = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(BODY)).encode())]
    lines = [b"HTTP/1.1 503 Service Unavailable", *(name + b": " + value for name, value in [*headers, *sent])]
    transport.write(b"\r\n".join([*lines, b"", BODY]))
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True  # as uvicorn does when a client has gone
        cycle.message_event.set()
        if cycle.more_body:
            transport.set_protocol(_Deaf(protocol))
            protocol.flow.resume_reading()
            transport.write_eof()
            return
    transport.close()


class _Deaf(asyncio.Protocol):
    """Takes the place of a protocol whose connection is only there for its client to read the end."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
