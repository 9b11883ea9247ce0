"""The private Unix socket: the app itself for the check, and a small status document."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gapless.errors import GaplessError
from gapless.listen import bind
from gapless.serve.load import ASGIApp

STATUS_PATH = "/.gapless/status"

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


def with_status(app: ASGIApp, status: Callable[[], Status]) -> ASGIApp:
    """`app`, but STATUS_PATH answers what `status` returns, as JSON."""

    async def private_app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != STATUS_PATH:
            await app(scope, receive, send)
            return
        body = json.dumps(status()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return private_app
