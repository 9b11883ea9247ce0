"""The network beyond a host, for its builds: a proxy on its loopback, whose other side is this machine's."""

from __future__ import annotations

import contextlib
import http.server
import select
import socket
from collections.abc import Iterator

from tests.host.host import Host
from tests.host.serving import HostServer

CHUNK = 1 << 16
WITHIN = 20.0  # seconds for a connection to somebody
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


class Gateway(HostServer):
    """A proxy that takes CONNECT alone."""

    def __init__(self, host: Host) -> None:
        super().__init__(host, Tunnel)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""


class Tunnel(http.server.BaseHTTPRequestHandler):
    """One connection through a gateway."""

    protocol_version = "HTTP/1.1"

    def do_CONNECT(self) -> None:
        """Pass bytes on, either way, until one of both has no more."""
        name, _, port = self.path.rpartition(":")
        self.close_connection = True
        try:
            far = socket.create_connection((name, int(port)), WITHIN)
        except (OSError, ValueError) as error:
            self.send_error(502, str(error))
            return
        self.send_response(200)
        self.end_headers()
        other = {self.connection: far, far: self.connection}
        with far, contextlib.suppress(OSError):
            while True:
                for one in select.select([*other], [], [])[0]:
                    data = one.recv(CHUNK)
                    if not data:
                        return
                    other[one].sendall(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def gateway(host: Host) -> Iterator[None]:
    """pip's and npm's registries are as reachable in the host's builds as they are on this machine."""
    with Gateway(host) as one:
        host.write("/etc/pip.conf", f"[global]\nproxy = {one.url}\ncert = {AUTHORITIES}\n")
        for path in ("/etc/npmrc", "/usr/etc/npmrc"):  # Debian's npm, and npm's own
            host.write(path, f"proxy={one.url}\nhttps-proxy={one.url}\ncafile={AUTHORITIES}\nupdate-notifier=false\n")
        yield
