"""A second socket at the address of one that instances still have, and the way from the one to the other.

systemd cannot take a socket back from a service: when it has lost its own (`systemctl restart` of the socket unit
closes it, and does not open it while the service runs), or is to have another address as well, it opens a new one
beside it (SO_REUSEPORT, socket(7)). The kernel would spread new connections over both. So they go to the old one until
its successor is the live one, then to the new one, and the old one is left when nothing waits there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence

from gapless.linux.files import replace
from gapless.switch import held
from gapless.switch.manager import Instance
from gapless.switch.systemd.closing import close
from gapless.switch.systemd.home import SystemdHome

IP_FREEBIND = 15  # ip(7)
ATTACH = 51  # SO_ATTACH_REUSEPORT_CBPF: a program says which socket of the group gets a connection
RETURN = 0x06  # BPF_RET | BPF_K, of classic BPF
HANDSHAKES = 0.2  # seconds: those that began at the old socket are completed there
PATIENCE = 2.0  # seconds until nobody waits at the old socket
UNACCEPTED = slice(24, 28)  # tcpi_unacked in TCP_INFO: of a listening socket, who waits there


def open_beside(home: SystemdHome, unit: str, running: Iterable[Instance], addresses: Sequence[str]) -> str:
    """Have systemd open the socket unit anew while `running` instances keep theirs, for the service `unit`.

    Connections go on to theirs. Returns "" or what systemd said. Raises GaplessError, OSError.
    """
    own = home.volatile / f"{home.socket}.d" / "reopen.conf"
    with _taken(running, addresses) as old:
        for one in old:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            _steer_from_now_on(one)
        # A service that does not run: else systemd refuses. A Unix socket keeps its path until the new one has it.
        replace(own, f"[Socket]\nReusePort=yes\nRemoveOnStop=no\nService={unit}\n")
        try:
            home.ctl.do("daemon-reload")
            close(home)
            done = home.ctl.attempt("start", home.socket)
        finally:
            own.unlink(missing_ok=True)
            home.ctl.do("daemon-reload")
            for one in old:
                _steer(one, 0)
    return done.stderr.strip() if done.returncode else ""


def move_on(live: Instance, others: Iterable[Instance], addresses: Sequence[str]) -> None:
    """Send connections to the sockets of the `live` instance, where `others` have older ones, and empty those."""
    ours = held.inodes(live.pid, addresses)
    with _taken(others, addresses) as taken:
        left = {number: one for one in taken if ours and (number := held.inode(one)) not in ours}
        for one in left.values():
            place = sum(other.getsockname() == one.getsockname() for other in left.values())
            _steer(one, place)  # after those that are left: it was opened last
        if left:
            time.sleep(HANDSHAKES)
        deadline = time.monotonic() + PATIENCE
        while any(map(_waits, left.values())) and time.monotonic() < deadline:
            time.sleep(0.01)


@contextlib.contextmanager
def _taken(instances: Iterable[Instance], addresses: Sequence[str]) -> Iterator[list[socket.socket]]:
    """Copies of the instances' TCP sockets at `addresses`, closed again after the block."""
    with contextlib.ExitStack() as opened:
        found = [opened.enter_context(_copy(one)) for each in instances for one in held.listening(each.pid, addresses)]
        yield [one for one in found if one.family != socket.AF_UNIX]


def _copy(one: socket.socket) -> socket.socket:
    """Another descriptor of the socket. Its own `dup` would have all who share it block in accept(2)."""
    return socket.socket(fileno=os.dup(one.fileno()))


def _steer_from_now_on(one: socket.socket) -> None:
    """Have every new connection go to `one`, the first of its group, also once the next socket has joined the group.

    A group begins with the second socket, and only then takes a program: so ours is in it for a moment. Without that
    visitors would come to systemd's new socket, where nobody answers before the successor has booted, until we hear
    that it is there; and for that long if we are killed. A program of an earlier group may even send all of them there.
    """
    with socket.socket(one.family, one.type, one.proto) as passing:
        passing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # beside the connections that there are
        passing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if one.family == socket.AF_INET6:
            only = one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            passing.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        passing.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, one.getsockopt(socket.IPPROTO_IP, IP_FREEBIND))
        _steer(one, 0)  # where there is a group already, before ours joins it
        try:
            passing.bind(one.getsockname())
            passing.listen(1)
        except OSError:  # systemd does the same next, and says why it cannot
            return
        _steer(one, 0)


def _steer(one: socket.socket, place: int) -> None:
    """Have every new connection of the group of `one` go to its socket number `place`, where it has a group."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", RETURN, 0, 0, place))
    try:
        one.setsockopt(socket.SOL_SOCKET, ATTACH, struct.pack("HxxxxxxP", 1, ctypes.addressof(program)))
    except OSError:  # it is alone
        return


def _waits(one: socket.socket) -> bool:
    return any(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[UNACCEPTED])
