"""A load balancer in front of hosts: a real Caddy in a network namespace of its own, with clients beside it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.host import network
from tests.host.lan import Lan
from tests.host.proxies import NEWER
from tests.support import wait_until

T = TypeVar("T")

HOLD = "ip link set lo up && echo ready && exec cat > /dev/null"
CONFIG = """
{
	admin off
	auto_https off
	persist_config off
}
http://127.0.0.1:%(port)d {
	bind 127.0.0.1
	reverse_proxy %(backends)s {
		lb_policy round_robin
		%(retries)s
		transport http {
			keepalive 1s
			dial_timeout 500ms
			%(patience)s
		}
	}
}
"""
# What somebody writes whose hosts may die: who does not answer is left out for a while, and another is asked.
RETRIES = "lb_try_duration 10s\n\t\tlb_try_interval 50ms\n\t\tfail_duration 2s"
PATIENCE = "response_header_timeout 3s"


class Balancer:
    """Caddy on the loopback of a namespace that is in `lan`, in turn to each of `backends`, while a block runs.

    `inside` is for its clients. Without `retries` each request is sent once: they would hide losses.
    """

    address, port = "127.0.0.1", 8080

    def __init__(self, lan: Lan, backends: Sequence[str], *, retries: bool) -> None:
        about = {"port": self.port, "backends": " ".join(backends)}
        about |= {"retries": RETRIES, "patience": PATIENCE} if retries else {"retries": "", "patience": ""}
        self._config = lan.home / f"Caddyfile-{'retries' if retries else 'once'}"
        self._config.write_text(CONFIG % about)
        self._lan = lan

    @property
    def url(self) -> str:
        """Of the balancer, for those inside."""
        return f"http://{self.address}:{self.port}"

    def inside(self, call: Callable[[], T]) -> T:
        """The result of `call`, run in a thread in the balancer's network: sockets made there stay in it."""
        return network.inside(self._holder.pid, call)

    def __enter__(self) -> Balancer:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-e", "-c", HOLD],
            stdin=subprocess.PIPE,  # its end, even by our own death, ends the namespace
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"
        self._lan.plug(self._holder.pid)
        enter = ["nsenter", f"--target={self._holder.pid}", "--net", "setpriv", "--pdeathsig=KILL"]
        env = {"HOME": str(self._lan.home), "PATH": "/usr/bin:/bin"}
        with self._config.with_suffix(".log").open("wb") as log:
            argv = [*enter, str(NEWER), "run", "--adapter", "caddyfile", "--config", str(self._config)]
            self._caddy = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._listens, 30, "Caddy listens")
        return self

    def _listens(self) -> bool:
        assert self._caddy.poll() is None, self._config.with_suffix(".log").read_text()
        return f":{self.port:04X}" in Path(f"/proc/{self._holder.pid}/net/tcp").read_text()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._caddy.terminate()
        self._caddy.wait(30)
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait(30)
