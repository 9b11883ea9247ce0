"""A real Caddy in front of a port, as the guide sets it up, without retries: they would hide losses."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

CONFIG = """
{
	admin off
	auto_https off
	persist_config off
}
http://127.0.0.1:%(front)d {
	reverse_proxy 127.0.0.1:%(back)d {
		transport http {
			keepalive %(keepalive)gs
		}
	}
}
"""


@contextlib.contextmanager
def in_front_of(
    port: int, folder: Path, keepalive: float, command: Callable[..., Sequence[str]] = lambda *argv: argv
) -> Iterator[str]:
    """Run Caddy on a free loopback port; gives its URL. `keepalive` (seconds) must be below the server's linger.

    `command` makes the argv that runs another one, where it does not simply run here.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        front: int = free.getsockname()[1]
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    caddy = shutil.which("caddy", path=here)
    if caddy is None:
        raise RuntimeError("there is no caddy; `make lint` installs what the bench needs")
    config = folder / "Caddyfile"
    config.write_text(CONFIG % {"front": front, "back": port, "keepalive": keepalive})
    env = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "caddy.log").open("wb") as log:
        argv = command(caddy, "run", "--adapter", "caddyfile", "--config", "-")
        with config.open() as read:  # by descriptor: `command` may see other files
            process = subprocess.Popen(argv, env=env, stdin=read, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while not _answers(front):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"caddy does not listen: {(folder / 'caddy.log').read_text()}")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{front}"
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
