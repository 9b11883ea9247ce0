"""An HTTP server of a test's own inside a host, which has nothing but its loopback."""

from __future__ import annotations

import http.server
import socket
import threading
from typing import Self

from tests.host.host import Host


class HostServer(http.server.ThreadingHTTPServer):
    """Serves on the loopback of `host` as long as a block runs; `url` is where those in the host reach it."""

    def __init__(self, host: Host, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__((host.address, 0), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = host.inside(lambda: socket.create_server((host.address, 0), backlog=128))
        self.url = f"http://{host.address}:{self.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
