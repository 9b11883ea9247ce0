"""Where an app listens: the addresses of gapless.toml, as bind(2) takes and getsockname(2) gives them."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gapless.errors import GaplessError
from gapless.listen import expand, parse, unusable

ANY = ("0.0.0.0", "::")  # noqa: S104 -- read


@dataclass(frozen=True)
class Address:
    """Where to hold a socket: `written` as in gapless.toml, `name` as bind(2) takes and getsockname(2) gives it."""

    written: str
    family: socket.AddressFamily
    name: tuple[str, int] | str

    @classmethod
    def parse(cls, written: str) -> Address:
        """The address that does not depend on a resolver, a directory or chance. Raises GaplessError (status 2)."""
        host, port = parse(written)
        if port is None:
            if not host.startswith("/") or len(os.fsencode(host)) > 107:
                raise unusable(written, "the path of a Unix socket must start with / and have at most 107 bytes")
            return cls(written, socket.AF_UNIX, host)
        if port == 0:
            raise unusable(written, "it has no port between 1 and 65535")
        host = "127.0.0.1" if host == "localhost" else host
        for family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                packed = socket.inet_pton(family, host)
                return cls(written, family, (socket.inet_ntop(family, packed), port))
        raise unusable(written, f"{host!r} is not an IP address")

    @property
    def reached(self) -> str:
        """Say what reaches the address on this host: `host:port`, `[v6]:port`, or the path of its Unix socket."""
        if isinstance(self.name, str):
            return self.name
        host, port = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.name[0], self.name[0]), self.name[1]  # noqa: S104 -- read
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"

    def is_of(self, held: socket.socket) -> bool:
        """Whether `held` listens here; one that systemd gives may do so for IPv4 and IPv6 at once."""
        name = held.getsockname()
        if (self.family, held.family) == (socket.AF_INET, socket.AF_INET6) and name[0] == "::":
            of_both = not held.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            return of_both and self.name == ("0.0.0.0", name[1])  # noqa: S104 -- compared
        return held.family == self.family and (name if isinstance(name, str) else name[:2]) == self.name


def clash(addresses: Iterable[str]) -> str:
    """Say which of `addresses` cannot both be had; "" when all can, or are none."""
    seen: list[Address] = []
    for written in addresses:
        try:
            one = Address.parse(written)
        except GaplessError:  # who is to listen there says what is wrong with it
            continue
        for other in seen:
            if one.name == other.name:
                return f"{one.written} is there twice"
            if one.family == other.family and one.name[1] == other.name[1] and {*ANY} & {one.name[0], other.name[0]}:
                return f"{other.written} and {one.written} are one port of one address"
        seen.append(one)
    return ""


def left_out(addresses: Sequence[str]) -> list[str]:
    """List where nobody listens though whoever wrote `addresses` may think so: `[::]` without IPv4's, `localhost`."""
    names = {Address.parse(written).name for written in addresses}
    return [one for one in expand(addresses) if Address.parse(one).name not in names]


def in_use(addresses: Iterable[str]) -> list[Address]:
    """List those of `addresses` on which somebody listens; nothing is opened."""
    return [one for one in map(Address.parse, addresses) if _in_use(one)]


def _in_use(address: Address) -> bool:
    with socket.socket(address.family) as probe:
        try:
            if isinstance(address.name, str):
                probe.connect(address.name)  # systemd would take the path from whoever has it
                return True
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # connections that have ended are in nobody's way
            if address.family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address.name)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def absent(addresses: Iterable[str]) -> list[str]:
    """List the `addresses` that this host does not have now: the network may bring them later, or it is a slip."""
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


def moved(held: Sequence[Address], wanted: Iterable[str]) -> str:
    """Say that the manager has the addresses `held` open, not the `wanted`; "" when it has the latter, or none."""
    now = [Address.parse(written) for written in wanted]
    if not held or {one.name for one in held} == {one.name for one in now}:
        return ""
    before, after = (", ".join(one.written for one in each) for each in (held, now))
    return f"it listens on {before}, and gapless.toml says {after}"
