"""WSGI applications as ASGI ones, each request in a thread: PEP 3333, on uvicorn's request cycle.

The head goes out with the first bytes of the body, so until then an app can still answer with an error. Once the
client has gone, the next bytes that the app yields end its work, and its iterable is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import is_hop_by_hop

from gapless.serve.threads import Threads

READ_AHEAD = 65536  # bytes of a request's body that are buffered

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
ExcInfo = tuple[Any, BaseException, Any] | tuple[None, None, None] | None

_STATUS = re.compile(r"[1-9]\d\d [^\x00-\x1f\x7f]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # token, RFC 9110
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


class ClientGoneError(ConnectionResetError):
    """The client closed its connection before the app had answered."""


class Wsgi:
    """An ASGI application that runs `app` in at most `threads` threads."""

    def __init__(self, app: WSGIApp, threads: int, *, multiprocess: bool = False) -> None:
        self.app = app
        self.constants = {
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": threads > 1,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,  # reading on never waits for more than the body: chunked bodies can be read
        }
        self._threads = Threads(threads)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        if scope["type"] != "http":  # a lifespan: WSGI has none
            return
        exchange = _Exchange(self.app, receive, send)
        environ = {**environ_of(scope), **self.constants, "wsgi.input": io.BufferedReader(exchange, READ_AHEAD)}
        try:
            error = await self._threads.run(lambda: exchange.run(environ))
        except asyncio.CancelledError:
            if not exchange.is_over():
                raise
            return  # it only cleared up after itself, and the app's own errors would drown in ours
        finally:
            exchange.gone = True  # whoever still works on it in the thread, works for nobody
        if error is not None:
            raise error


class _Exchange(io.RawIOBase):
    """One request and its response, in the thread that the app runs in; as a file it is the request's body."""

    def __init__(self, app: WSGIApp, receive: Any, send: Any) -> None:
        self.app = app
        self.gone = False
        self._receive = receive
        self._send = send
        self._cycle = getattr(receive, "__self__", None)  # uvicorn's: it knows at once when the client has gone
        self._loop = asyncio.get_running_loop()
        self._head: dict[str, Any] | None = None
        self._head_sent = False
        self._only = False  # the body is one piece
        self._body = memoryview(b"")
        self._more_body = True

    def is_over(self) -> bool:
        """Whether nobody waits for more of the response."""
        return any(getattr(self._cycle, name, False) for name in ("response_complete", "disconnected"))

    def run(self, environ: dict[str, Any]) -> BaseException | None:
        """Call the app, send what it says, close its iterable; return what it raised.

        A request that was refused while it waited for a thread is not begun: its client was told to try again.
        """
        if getattr(self._cycle, "refused", False):
            return None
        try:
            pieces = self.app(environ, self._start_response)
            with contextlib.ExitStack() as closing:
                if hasattr(pieces, "close"):
                    closing.callback(pieces.close)
                self._respond(pieces)
        except ClientGoneError:
            return None
        except BaseException as error:
            return error
        return None

    def _respond(self, pieces: Iterable[bytes]) -> None:
        self._only = isinstance(pieces, list | tuple) and len(pieces) == 1
        for piece in pieces:
            if piece:
                self._write(piece, more=not self._only)
        if not (self._head_sent and self._only):
            self._write(b"", more=False)

    # What the app calls

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo = None
    ) -> Callable[[bytes], None]:
        try:
            if exc_info and exc_info[1] is not None and self._head_sent:
                raise exc_info[1].with_traceback(exc_info[2])
        finally:
            exc_info, given = None, exc_info is not None  # a traceback that holds its own frame is never freed
        if self._head is not None and not given:
            raise AssertionError("start_response was called a second time, without exc_info")
        self._head = {"type": "http.response.start", "status": _code(status), "headers": _encoded(headers)}
        return lambda piece: self._write(piece, more=True)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with what comes next of the request's body; 0 is its end."""
        while not self._body and self._more_body:
            event = self._in_loop(self._receive())
            if event["type"] == "http.disconnect":
                raise ClientGoneError("the client closed the connection before its request's body was complete")
            self._body, self._more_body = memoryview(event.get("body", b"")), event.get("more_body", False)
        size = min(len(buffer), len(self._body))
        buffer[:size], self._body = self._body[:size], self._body[size:]
        return size

    # What goes to uvicorn

    def _write(self, piece: bytes, *, more: bool) -> None:
        if self._head is None:
            raise AssertionError("the body began before start_response was called")
        if not isinstance(piece, bytes):
            raise TypeError(f"the body is made of bytes, not of {type(piece).__name__}")
        if more and not piece:
            return
        messages = [{"type": "http.response.body", "body": piece, "more_body": more}]
        if not self._head_sent:
            self._head_sent = True
            if not more and not any(name == b"content-length" for name, _ in self._head["headers"]):
                self._head["headers"] += self._length(piece)
            messages.insert(0, self._head)
        self._in_loop(self._send_all(messages))
        if self.gone or getattr(self._cycle, "disconnected", False):
            raise ClientGoneError("the client closed the connection before the response was complete")

    def _length(self, piece: bytes) -> list[tuple[bytes, bytes]]:
        scope = getattr(self._cycle, "scope", {})
        bodiless = scope.get("method") == "HEAD" or self._head is None or self._head["status"] in (204, 304)
        return [] if bodiless else [(b"content-length", str(len(piece)).encode())]

    async def _send_all(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            await self._send(message)

    def _in_loop(self, coroutine: Any) -> Any:
        if self.gone:
            coroutine.close()
            raise ClientGoneError("the request was cut off")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _code(status: str) -> int:
    if not isinstance(status, str) or not _STATUS.fullmatch(status):
        raise ValueError(f"{status!r} is no status: three digits, a space and a reason")
    return int(status[:3])


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """The headers as ASGI has them. Those of the connection are the server's, but the app may ask to close it."""
    found = []
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"{name!r}: {value!r} is no header")
        if not is_hop_by_hop(name) or (name.lower(), value.lower()) == ("connection", "close"):
            found.append((name.lower().encode("latin-1"), value.strip().encode("latin-1")))
    return found


def environ_of(scope: Any) -> dict[str, Any]:
    """The variables of a request, without those that start with `wsgi.`, but the scheme."""
    headers = _joined(scope["headers"])
    root, query = scope.get("root_path", ""), scope["query_string"].decode("latin-1")
    host, port = scope.get("server") or ("", None)
    if port is None:  # a Unix socket has no port
        host, _, port = headers.get("HTTP_HOST", "").rpartition(":")
        host, port = (host, port) if port.isdecimal() else (headers.get("HTTP_HOST", ""), "")
    client = scope.get("client") or ("", "")
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1").removeprefix(root),
        "QUERY_STRING": query,
        "RAW_URI": scope["raw_path"].decode("latin-1") + ("?" + query if query else ""),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host or "localhost",
        "SERVER_PORT": str(port or (443 if scope["scheme"] == "https" else 80)),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.url_scheme": scope["scheme"],
    }
    return environ | headers


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Request headers by their names in CGI. One with an underscore would pass for another, and is left out."""
    found: dict[str, str] = {}
    for name, value in headers:
        if b"_" in name:
            continue
        variable = name.decode("latin-1").upper().replace("-", "_")
        key = variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"
        text = value.decode("latin-1")
        found[key] = f"{found[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}" if key in found else text
    return found
