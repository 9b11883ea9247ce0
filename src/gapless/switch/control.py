"""The control socket: JSON lines between whoever deploys and the supervisor, one request a connection."""

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
from gapless.switch.home import Home, short

PATIENCE = 10.0  # seconds for a request to arrive, and for an answer on top of what the request may take
LONGEST = 1 << 16  # bytes of a request


class Start(msgspec.Struct, tag="start", tag_field="verb", forbid_unknown_fields=True):
    """Start a candidate; answered with Started when its readiness is known, after at most `timeout` seconds."""

    release: str
    timeout: float


class Retire(msgspec.Struct, tag="retire", tag_field="verb", forbid_unknown_fields=True):
    """Tell an instance to drain; answered at once. `pid` guards against an id that was used again."""

    id: str
    pid: int


class Stop(msgspec.Struct, tag="stop", tag_field="verb", forbid_unknown_fields=True):
    """End an instance; answered with whether it is gone yet, after a few seconds at most: ask again."""

    id: str
    pid: int


class Instances(msgspec.Struct, tag="instances", tag_field="verb", forbid_unknown_fields=True):
    """Answered with every Instance, oldest first."""


class Info(msgspec.Struct, tag="info", tag_field="verb", forbid_unknown_fields=True):
    """Answered with About."""


class Settle(msgspec.Struct, tag="settle", tag_field="verb", forbid_unknown_fields=True):
    """Read the commit file again, and start the current release if it does not run."""


class About(msgspec.Struct, frozen=True):
    """The supervisor: its pid, since when (Unix time), and each address it holds with its socket's inode."""

    pid: int
    since: float
    sockets: dict[str, int]


Request = Start | Retire | Stop | Instances | Info | Settle
HungUp = Callable[[], Awaitable[None]]
Handler = Callable[[Request, HungUp], Awaitable[object]]


class UnreachableError(GaplessError):
    """No supervisor answers for this home."""


def bind(home: Home) -> socket.socket:
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


def ask(home: Home, request: Request, within: float = 0.0) -> Any:
    """Send `request` and wait for its answer, `within` seconds more than usual; raises GaplessError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(within + PATIENCE)
        try:
            with short(home.control) as name:
                client.connect(name)
            client.sendall(msgspec.json.encode(request) + b"\n")
            with client.makefile("rb") as answers:
                line = answers.readline()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise _unreachable(home, f"nothing listens on {home.control}", "start it with `gapless run`") from error
        except TimeoutError as error:
            hint = "it may be stopped (SIGSTOP) or its disk may hang"
            raise _unreachable(home, "it does not answer in time", hint) from error
        except OSError as error:
            raise _unreachable(home, str(error), "start it with `gapless run`") from error
    if not line.endswith(b"\n"):
        raise _unreachable(home, "it ended before it answered", "start it again with `gapless run`")
    answer = json.loads(line)
    if "error" in answer:
        raise GaplessError(**answer["error"] | {"details": tuple(answer["error"]["details"])})
    return answer["ok"]


def _unreachable(home: Home, cause: str, hint: str) -> UnreachableError:
    return UnreachableError("reach", f"the supervisor of {home.root}", cause, hint)
