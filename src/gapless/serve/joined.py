"""A response's head and the first part of its body leave in one piece: one call, one segment, one wake-up less."""

from __future__ import annotations

import asyncio
from typing import Any

from gapless.serve.refusal import stay_deaf

SMALL = 1 << 16  # bytes: what is longer is not worth a copy


class Joined:
    """Stands before the `transport` of one response, which `cycle` sends, and keeps its head for a moment.

    uvicorn writes the head by itself. Most apps have their body at hand then: what comes in the same step of the loop
    goes with the head. Else the head leaves in the next step, so that a stream begins when its app says so.
    """

    __slots__ = ("_cycle", "_head", "_loop", "_transport")

    def __init__(self, transport: Any, cycle: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._cycle = cycle  # until its head: a circle is freed late
        self._loop = loop
        self._head = b""

    def write(self, data: bytes) -> None:
        """Write what the cycle has; its head soon, unless nothing follows a head (RFC 9110, 9.3.2)."""
        if self._head:
            if len(data) <= SMALL:
                data = self._head + data
            else:
                self._transport.write(self._head)
            self._head = b""
        elif self._cycle is not None and self._cycle.response_started:
            cycle, self._cycle = self._cycle, None
            if cycle.scope["method"] != "HEAD":
                self._head = data
                self._loop.call_soon(self._flush)
                return
        self._transport.write(data)

    def close(self) -> None:
        """Write what is left, and close."""
        self._flush()
        protocol = self._transport.get_protocol()
        cycle = getattr(protocol, "cycle", None)
        if cycle is not None and cycle.transport is self and cycle.response_complete and cycle.more_body:
            stay_deaf(protocol)  # its client still sends: a reset would take the answer from it
        else:
            self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            if not self._transport.is_closing():  # uvloop raises where it is lost
                self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
