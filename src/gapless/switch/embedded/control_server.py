"""The supervisor's end of the control socket. Deployers need none of it: what asyncio takes to import, they save."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gapless.errors import GaplessError
from gapless.switch.embedded.control import PATIENCE, Request
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.lock import short

LONGEST = 1 << 16  # bytes of a request

HungUp = Callable[[], Awaitable[None]]
Handler = Callable[[Request, HungUp], Awaitable[object]]


def bind(home: EmbeddedHome) -> socket.socket:
    """The control socket; only the holder of the lock calls this, so a file that is there is stale. Raises OSError."""
    home.control.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        with short(home.control) as name:
            bound.bind(name)  # `run` is 0700: nobody else gets in between
        home.control.chmod(0o600)
        bound.listen(64)
    except OSError:
        bound.close()
        raise
    return bound


async def serve(bound: socket.socket, handler: Handler) -> asyncio.Server:
    """Answer requests by `handler`, which can also wait until the client has hung up."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(json.dumps(await _answer(reader, handler)).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client is dead, or the supervisor ends: there is nobody to answer
        finally:
            writer.close()

    return await asyncio.start_unix_server(connected, sock=bound, limit=LONGEST)


async def _answer(reader: asyncio.StreamReader, handler: Handler) -> dict[str, Any]:
    try:
        async with asyncio.timeout(PATIENCE):
            line = await reader.readline()
        request: Request = msgspec.json.decode(line, type=Request)
        return {"ok": msgspec.to_builtins(await handler(request, functools.partial(_hung_up, reader)))}
    except GaplessError as error:
        return _refusal(error)
    except (ValueError, TimeoutError) as error:  # too long, not JSON, not a request (msgspec's errors are ValueErrors)
        return _refusal(GaplessError("understand", "the request", str(error) or "it did not arrive"))
    except OSError as error:
        return _refusal(GaplessError("do", "what was asked", str(error)))


async def _hung_up(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(LONGEST):
            pass  # whatever follows the request is not for us


def _refusal(error: GaplessError) -> dict[str, Any]:
    parts = {"operation": error.operation, "object_": error.object, "cause": error.cause, "hint": error.hint}
    return {"error": parts | {"details": error.details, "status": error.status}}
