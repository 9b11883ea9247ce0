"""Refuse a request before its response has begun: an answer that says why, in the place of a silent close."""

from __future__ import annotations

import asyncio
import http
from dataclasses import dataclass
from typing import Any

CLOSE = (b"connection", b"close")


@dataclass(frozen=True)
class Answer:
    """A whole response, but for the headers that each has."""

    status: http.HTTPStatus
    text: bytes

    def encoded(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Its bytes; it says that the connection closes."""
        own = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(self.text)).encode())]
        lines = [f"HTTP/1.1 {self.status} {self.status.phrase}".encode()]
        lines += [name + b": " + value for name, value in (*(one for one in headers if one != CLOSE), CLOSE, *own)]
        return b"\r\n".join([*lines, b"", self.text])


REPLACED = Answer(
    http.HTTPStatus.SERVICE_UNAVAILABLE, b"This server is being replaced and cannot answer in time. Try again.\n"
)
REQUEST_TIMEOUT = Answer(http.HTTPStatus.REQUEST_TIMEOUT, b"The request did not come to its end in time.\n")
NO_HANDSHAKE = Answer(http.HTTPStatus.BAD_REQUEST, b"This is no handshake of a WebSocket, or it is too large.\n")
TOO_LARGE = Answer(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"The request's headers are too large.\n")


def refuse(
    protocol: Any, headers: list[tuple[bytes, bytes]], answer: Answer = REPLACED, *, may_send: bool = False
) -> None:
    """Give `answer` with `headers` on a uvicorn protocol's connection, tell the app of a disconnect, and close.

    A client that is still sending (a body, or what else it `may_send`) would not see the answer if the connection were
    closed: what comes is thrown away then, until it has read the answer and closes.
    """
    transport, cycle = protocol.transport, getattr(protocol, "cycle", None)
    transport.write(answer.encoded(headers))
    if cycle is not None and not cycle.response_complete:
        cycle.refused = True  # ours, for Wsgi: whatever waits for a thread is not begun
        cycle.disconnected = True  # as uvicorn does when a client has gone
        cycle.waiting_for_100_continue = False  # it has its answer: receive() would write that after our end
        cycle.message_event.set()
        may_send |= cycle.more_body
    if not may_send:
        transport.close()
        return
    stay_deaf(protocol)


def stay_deaf(protocol: Any) -> None:
    """Close for writing, and throw away what still comes until the client has read the end and closes."""
    if not protocol.transport.is_closing():
        protocol.transport.set_protocol(_Deaf(protocol))
        protocol.flow.resume_reading()
        protocol.transport.write_eof()


class _Deaf(asyncio.Protocol):
    """Takes the place of a protocol whose connection is only there for its client to read the end."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
