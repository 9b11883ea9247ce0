"""The sockets that an instance serves on: handed in, or its own; the log says which, and where they listen."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Sequence

from gapless.listen import FIRST_FD, bind, expand, inherited, is_listening

log = logging.getLogger("gapless.serve")

DEFAULT = "127.0.0.1:8000"
BY_NUMBER = "fd:"
IP_TRANSPARENT = 19


def sockets_for(addresses: Sequence[str]) -> list[socket.socket]:
    """The sockets that were handed in (sd_listen_fds(3)), else those of `addresses`, else that of DEFAULT.

    Raises GaplessError where what is promised is not there, or an address cannot be had.
    """
    sockets = inherited()
    if sockets:
        log.info("listening on %s (activated: the manager holds it)", _names(sockets))
        return sockets
    strays = [] if addresses else _strays()
    sockets = [bind(address) for address in expand(addresses or [DEFAULT])]
    if addresses and all(address.startswith(BY_NUMBER) for address in addresses):
        log.info("listening on %s (handed in by number: whoever started this holds it)", _names(sockets))
        return sockets
    log.info("listening on %s (not activated, LISTEN_FDS is not set: this process alone holds it)", _names(sockets))
    for fd, name in strays:  # as start_server and circus hand them on
        hint = f"--bind fd:{fd} serves on it"
        log.warning("descriptor %d, from whoever started this, listens on %s and is not used: %s", fd, name, hint)
    return sockets


def only_address(sockets: Sequence[socket.socket]) -> tuple[str, int] | None:
    """The one address that all visitors come to; None where each connection has to be asked for its own.

    So it is with several sockets, and with one for all addresses, or for others than its own (IP_TRANSPARENT, ip(7)).
    """
    if len(sockets) != 1 or sockets[0].family not in (socket.AF_INET, socket.AF_INET6):
        return None
    [one] = sockets
    host, port = one.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified or one.getsockopt(socket.IPPROTO_IP, IP_TRANSPARENT):
        return None
    return host, port


def _strays() -> list[tuple[int, str]]:
    """Listening sockets among our descriptors that nothing speaks of, with their names."""
    found = []
    for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):  # noqa: PTH208 -- these are no files
        if fd >= FIRST_FD and is_listening(fd):
            with socket.socket(fileno=os.dup(fd)) as sock:
                found.append((fd, _names([sock])))
    return found


def _names(sockets: Sequence[socket.socket]) -> str:
    return ", ".join(_name(one) for one in sockets)


def _name(held: socket.socket) -> str:
    name = held.getsockname()
    if held.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if held.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"
