"""HTTP over a Unix socket: what an instance, and whoever manages it, asks of a private socket."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time
from collections.abc import Mapping
from typing import Any

# What `gapless serve` answers itself; everything else is for the app.
STATUS_PATH = "/.gapless/status"
STAND_BY_PATH, PAUSE_PATH, RESUME_PATH = "/.gapless/stand-by", "/.gapless/pause", "/.gapless/resume"

LONGEST = 1 << 20  # bytes of a body that are read


def get(
    socket_path: str, target: str, host: str, timeout: float, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """GET `target` over the Unix socket: status, headers (lower case), body. Raises OSError, also for what is not HTTP.

    `headers` go with it, over our own. `timeout` bounds the whole, in seconds; of a long body the first MiB is enough.
    No link is followed: whoever owns the directory of the socket could have us speak with somebody else's.
    """
    return _ask("GET", _Bounded(timeout), socket_path, target, host, headers=headers)


def get_over(
    end: socket.socket, target: str, host: str, timeout: float, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """GET `target` over a connection that is there, and closed then; otherwise as `get`."""
    return _ask("GET", _Bounded(timeout, end.detach()), "", target, host, headers=headers)


def post(
    socket_path: str, target: str, host: str, timeout: float, body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """POST `body` (None is nothing) to `target`; otherwise as `get`."""
    return _ask("POST", _Bounded(timeout), socket_path, target, host, body)


class _Bounded(socket.socket):
    """A Unix socket that is waited for until `deadline` (monotonic seconds), however much comes, or however little."""

    def __init__(self, timeout: float, descriptor: int | None = None) -> None:
        super().__init__(socket.AF_UNIX, fileno=descriptor)
        self.heard = False
        self.deadline = time.monotonic() + timeout
        self.settimeout(timeout)

    def reach(self, path: str) -> None:
        """Connect to the socket at `path` itself, over no link. Raises OSError."""
        place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not stat.S_ISSOCK(os.fstat(place).st_mode):
                raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), path)
            self.connect(f"/proc/self/fd/{place}")
        finally:
            os.close(place)

    def recv_into(self, *given: Any, **more: Any) -> int:
        """Receive as a socket does; http.client reads by nothing else."""
        self.settimeout(max(self.deadline - time.monotonic(), 0))
        try:
            received = super().recv_into(*given, **more)
        except (BlockingIOError, TimeoutError):
            raise TimeoutError("its answer does not end" if self.heard else "timed out") from None
        if time.monotonic() > self.deadline:
            raise TimeoutError("its answer does not end")
        self.heard = True
        return received


def _ask(
    method: str,
    sock: _Bounded,
    socket_path: str,
    target: str,
    host: str,
    sent: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    import http.client  # only who asks pays for it: with what it brings, it takes longer than all of ours

    with contextlib.closing(http.client.HTTPConnection("localhost")) as connection:
        connection.sock = sock
        if socket_path:
            sock.reach(socket_path)
        usual = {"Host": host, "User-Agent": "gapless-check", "Connection": "close"}
        given = dict(headers or {})
        asked = {name: value for name, value in usual.items() if name.lower() not in map(str.lower, given)} | given
        try:
            connection.request(method, target, sent, headers=asked)
            response = connection.getresponse()
            answered = {name.lower(): value for name, value in response.getheaders()}
            body = b""
            while len(body) < LONGEST and (more := response.read1(LONGEST)):
                body += more
        except ConnectionError:  # some are both
            raise
        except http.client.HTTPException as error:
            raise OSError(f"the answer is no HTTP: {error!r}") from error
        return response.status, answered, body
