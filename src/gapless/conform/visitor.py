"""A client that writes the bytes it wants to, and reads each response whole, or tells how it ended."""

from __future__ import annotations

import http.client
import io
import select
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

PATIENCE = 10.0  # seconds without a byte that a visitor waits

Address = tuple[str, int] | str


class Lost(Exception):  # noqa: N818 -- an outcome
    """There was no complete response; carries how it ended."""


class _Stays(io.BufferedReader):
    """A stream that outlives each response: what follows it is the next one's."""

    def close(self) -> None:
        """Stay open."""


@dataclass(frozen=True)
class Response:
    """A complete response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    seconds: float  # that it took from when reading began

    @property
    def closes(self) -> bool:
        """Whether no other request may follow on its connection."""
        return "close" in self.headers.get("Connection", "").lower()

    @property
    def release(self) -> str:
        return self.headers.get("gapless-release", "")


def head(path: str = "/", method: str = "GET", **headers: str) -> bytes:
    """The head of a request; in the names of headers _ stands for -."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


class Visitor:
    """A connection of its own."""

    def __init__(self, address: Address, patience: float = PATIENCE) -> None:
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.sock.settimeout(patience)
        try:
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise
        if not isinstance(address, str):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = _Stays(socket.SocketIO(self.sock, "r"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> Self:
        """Write bytes; raises Lost where the connection is gone."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Lost(f"sending failed: {error.strerror or error}") from error
        return self

    def begun(self, method: str = "GET") -> http.client.HTTPResponse:
        """The head of the next response; raises Lost."""
        response = http.client.HTTPResponse(self.sock, method=method)
        response.fp = self.stream
        try:
            response.begin()
        except (OSError, http.client.HTTPException) as error:
            raise Lost(f"no response: {_in_words(error)}") from error
        return response

    def response(self, method: str = "GET") -> Response:
        """The next response, whole; raises Lost."""
        began = time.monotonic()
        return self.rest(self.begun(method), began)

    def rest(self, response: http.client.HTTPResponse, began: float | None = None) -> Response:
        """What is left of a response; raises Lost."""
        began = time.monotonic() if began is None else began
        try:
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Lost(f"the response broke off: {_in_words(error)}") from error
        return Response(response.status, response.headers, body, time.monotonic() - began)

    def get(self, path: str = "/") -> Response:
        return self.send(head(path)).response()

    def post(self, body: bytes, path: str = "/echo") -> Response:
        return self.send(head(path, "POST", Content_Length=str(len(body))) + body).response()

    def is_closed(self) -> bool:
        """Whether the other end has closed, with nothing left to read; does not wait."""
        try:
            return self.has_news() and not self.sock.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def has_news(self) -> bool:
        """Whether something came, or the end; does not wait."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))


def _in_words(error: Exception) -> str:
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed"
    if isinstance(error, http.client.IncompleteRead):
        return f"after {len(error.partial):,} bytes"
    if isinstance(error, TimeoutError):
        return f"nothing came for {PATIENCE:g} s"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"{type(error).__name__} {error}".strip()
