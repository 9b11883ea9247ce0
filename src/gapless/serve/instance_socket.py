"""The private Unix socket: the app itself for the check, a small status document, and orders to the instance."""

from __future__ import annotations

import contextlib
import http
import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gapless.errors import GaplessError
from gapless.linux.unix_http import PAUSE_PATH, RESUME_PATH, STAND_BY_PATH, STATUS_PATH
from gapless.listen import bind
from gapless.serve.app import ASGIApp
from gapless.serve.stage import Stage
from gapless.visitor import ADDRESS

ORDERS = {  # each asks for a state
    ("POST", STAND_BY_PATH): Stage.STANDING_BY,
    ("POST", PAUSE_PATH): Stage.PAUSED,
    ("POST", RESUME_PATH): Stage.SERVING,
}

PATIENCE = 1.0  # seconds that a process which does nothing else meanwhile waits for a request's head, and to answer

Status = Mapping[str, object]


def open_private(path: str) -> socket.socket:
    """Listen on `path`, for this user only; raises GaplessError. Paths above 107 bytes do not fit, unix(7)."""
    if len(os.fsencode(path)) > 107:
        raise GaplessError("listen on", path, "a Unix socket's path may have 107 bytes", "use a shorter --private path")
    before = os.umask(0o177)
    try:
        return bind(f"unix:{path}")
    finally:
        os.umask(before)


def close_private(path: str) -> None:
    """Remove the socket's name; the socket itself is its holder's to close."""
    with contextlib.suppress(FileNotFoundError):  # somebody tidied up
        Path(path).unlink()


def visited_app(app: ASGIApp, public: Sequence[socket.socket], scheme: str) -> ASGIApp:
    """`app`, but it sees what it would of a visitor on the first TCP socket of `public`, asking by `scheme`.

    A Unix socket has neither a client's address nor a port, and a middleware that reads these would refuse a good
    release. Where the public socket is a Unix one, too, the proxy in front says who a visitor is.
    """
    tcp = next((one for one in public if one.family != socket.AF_UNIX), None)
    six = tcp is not None and tcp.family == socket.AF_INET6
    client = ("::1" if six else ADDRESS, 0)
    server = (client[0] if _anywhere(tcp) else tcp.getsockname()[0], tcp.getsockname()[1]) if tcp else None

    async def visited(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = scope | {"scheme": scheme, "client": scope["client"] or client, "server": server or scope["server"]}
        await app(scope, receive, send)

    return visited


def _anywhere(sock: socket.socket) -> bool:
    return sock.getsockname()[0] in ("0.0.0.0", "::")  # noqa: S104 -- a comparison


def private_app(app: ASGIApp, status: Callable[[], Status], turn: Callable[[Stage], None] | None) -> ASGIApp:
    """`app`, but STATUS_PATH answers what `status` returns, as JSON, and so does each of ORDERS once `turn` obeyed.

    A GaplessError of `turn` is answered with 409. Without a `turn` there are no orders.
    """

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        asked = (scope["method"], scope["path"]) if scope["type"] == "http" else ("", "")
        if turn is not None and asked in ORDERS:
            try:
                turn(ORDERS[asked])
                code, document = 200, status()
            except GaplessError as error:
                code, document = 409, refusal(error)
        elif asked[1] == STATUS_PATH:
            code, document = 200, status()
        else:
            await app(scope, receive, send)
            return
        body = json.dumps(document).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def read_request(connection: socket.socket) -> tuple[str, str]:
    """Method and path of a request, for a process without an app; raises OSError if the head takes over PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    head = b""
    while b"\r\n\r\n" not in head:
        connection.settimeout(max(deadline - time.monotonic(), 0))
        if not (more := connection.recv(65536)):
            break
        head += more
    connection.settimeout(PATIENCE)
    method, path, *_ = [*head.decode("latin-1").partition("\r\n")[0].split(" "), "", ""]
    return method, path


def respond(connection: socket.socket, code: int, document: Status) -> None:
    """Answer with JSON; raises OSError when the client is gone."""
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {code} {http.HTTPStatus(code).phrase}\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)


def refusal(error: GaplessError) -> Status:
    """Build the document of a 409 response from the error."""
    return {"error": str(error)}
