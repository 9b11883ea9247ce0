"""HTTP over a Unix socket: what an instance, and whoever manages it, asks of a private socket."""

from __future__ import annotations

import contextlib
import socket
import time

# What `gapless serve` answers itself; everything else is for the app.
STATUS_PATH = "/.gapless/status"
STAND_BY_PATH, RESUME_PATH = "/.gapless/stand-by", "/.gapless/resume"

LONGEST = 1 << 20  # bytes of a body that are read


def get(socket_path: str, target: str, host: str, timeout: float) -> tuple[int, dict[str, str], bytes]:
    """GET `target` over the Unix socket: status, headers (lower case), body. Raises OSError, also for what is not HTTP.

    `timeout` bounds each wait for the server, and a body that does not end, in seconds; of a long one the first MiB is
    enough.
    """
    return _ask("GET", socket_path, target, host, timeout)


def post(socket_path: str, target: str, host: str, timeout: float) -> tuple[int, dict[str, str], bytes]:
    """POST nothing to `target`; otherwise as `get`."""
    return _ask("POST", socket_path, target, host, timeout)


def _ask(method: str, socket_path: str, target: str, host: str, timeout: float) -> tuple[int, dict[str, str], bytes]:
    import http.client  # only who asks pays for it: with what it brings, it takes longer than all of ours

    deadline = time.monotonic() + timeout
    with contextlib.closing(http.client.HTTPConnection("localhost", timeout=timeout)) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        connection.sock.connect(socket_path)
        asked = {"Host": host, "User-Agent": "gapless-check", "Connection": "close"}
        try:
            connection.request(method, target, headers=asked)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            body = b""
            while len(body) < LONGEST and (more := response.read1(LONGEST)):
                body += more
                if time.monotonic() > deadline:
                    raise TimeoutError("its answer does not end")
        except ConnectionError:  # some are both
            raise
        except http.client.HTTPException as error:
            raise OSError(f"the answer is no HTTP: {error!r}") from error
        return response.status, headers, body
