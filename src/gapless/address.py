"""Where an app listens: the addresses of gapless.toml, as bind(2) takes and getsockname(2) gives them."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from gapless.errors import GaplessError


@dataclass(frozen=True)
class Address:
    """Where to listen: `written` as in gapless.toml, `name` as bind(2) takes and getsockname(2) gives it."""

    written: str
    family: socket.AddressFamily
    name: tuple[str, int] | str

    @classmethod
    def parse(cls, written: str) -> Address:
        """`host:port`, `[v6]:port` or `unix:/path`; raises GaplessError (status 2). Names are not resolved."""
        if written.startswith("unix:"):
            path = written.removeprefix("unix:")
            if not path.startswith("/") or len(os.fsencode(path)) > 107:
                raise _unusable(written, "the path of a Unix socket must start with / and have at most 107 bytes")
            return cls(written, socket.AF_UNIX, path)
        host, colon, port = written.rpartition(":")
        if not colon or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
            raise _unusable(written, "it has no port between 1 and 65535")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        host = {"localhost": "127.0.0.1", "": "0.0.0.0", "*": "0.0.0.0"}.get(host, host)  # noqa: S104 -- asked for
        for family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                packed = socket.inet_pton(family, host)
                return cls(written, family, (socket.inet_ntop(family, packed), int(port)))
        raise _unusable(written, f"{host!r} is not an IP address")

    @property
    def reached(self) -> str:
        """What reaches it on this host: `host:port`, `[v6]:port`, or the path of its Unix socket."""
        if isinstance(self.name, str):
            return self.name
        host, port = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.name[0], self.name[0]), self.name[1]  # noqa: S104 -- read
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"

    def is_of(self, held: socket.socket) -> bool:
        """Whether `held` listens here."""
        name = held.getsockname()
        return held.family == self.family and (name if isinstance(name, str) else name[:2]) == self.name


def absent(addresses: Iterable[str]) -> list[str]:
    """Those of `addresses` that this host does not have now: the network may bring them later, or it is a slip."""
    found = []
    for address in map(Address.parse, addresses):
        if isinstance(address.name, tuple):
            with socket.socket(address.family) as probe:
                try:
                    probe.bind((address.name[0], 0))
                except OSError as error:
                    if error.errno == errno.EADDRNOTAVAIL:
                        found.append(address.written)
    return found


def _unusable(written: str, cause: str) -> GaplessError:
    hint = 'write it like "127.0.0.1:8000", "[::1]:8000" or "unix:/run/app.sock"'
    return GaplessError("listen on", repr(written), cause, hint, status=2)
