"""Adopt the listening sockets that systemd or `gapless run` holds, or bind one for local work."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence

from gapless import variables
from gapless.errors import GaplessError

FIRST_FD = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
BACKLOG = 4096  # asked for; the kernel caps it at net.core.somaxconn, listen(2)

_VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_adopted: list[tuple[str, socket.socket]] = []  # what this process inherited, with its names


class HeldSocket(socket.socket):
    """A listening socket that other processes share: what would disturb them does nothing here.

    Descriptors of one socket share one open file description. listen(2) on any of them resets the backlog
    for all (asyncio asks for 100), shutdown(2) ends accepting for all. Closing is safe: it is ours alone.
    """

    def listen(self, backlog: int = BACKLOG, /) -> None:
        if not self.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            super().listen(backlog)

    def shutdown(self, how: int, /) -> None:
        """Do nothing: close() is how one process lets go."""


def listen(fallback: str | Sequence[str] = "127.0.0.1:8000", *, name: str | None = None) -> list[socket.socket]:
    """Return the inherited listening sockets (all, or those called `name`), or bind `fallback` if there are none.

    The sockets listen, do not block, are not inherited by children, and have TCP_NODELAY. `fallback` is
    "host:port", "[v6]:port" or "unix:/path", or several of them ("[::]:8000" and "localhost:8000" are two, one for
    each family). Calling it again gives the same inherited sockets again. Variables that leaked from another program's
    start are removed with a warning (logging). Raises GaplessError if the environment promises sockets that are not
    there, not listening or not for this process, if none has that name, or if `fallback` cannot be bound. Source:
    sd_listen_fds(3).
    """
    if not inherited():
        return [bind(address) for address in expand([fallback] if isinstance(fallback, str) else fallback)]
    found = [sock for its_name, sock in _adopted if name in (None, its_name)]
    if not found:
        known = ", ".join(sorted({its_name for its_name, _ in _adopted}))
        hint = "set FileDescriptorName= in the socket unit, or ask for one of the names that are there"
        raise GaplessError("adopt", f"the socket named {name!r}", f"the inherited ones are named: {known}", hint)
    return found


def inherited() -> list[socket.socket]:
    """The sockets that were handed in to this process, ready to accept; raises GaplessError as `listen` does."""
    if "LISTEN_FDS" in os.environ:
        _adopted.extend(_inherit())
    return [sock for _, sock in _adopted]


def bind(address: str) -> socket.socket:
    """Bind and listen on "host:port", "[v6]:port" or "unix:/path"; raises GaplessError naming what is wrong.

    "fd:N" is the listening socket that this process has as descriptor N already, from whoever started it.
    """
    if address.startswith("fd:") and address[3:].isdecimal():
        return _adopt(int(address[3:]), "was it handed in by whoever started this program?")
    family, target = _resolve(address)
    sock = HeldSocket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_UNIX:
            _remove_stale(str(target))
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
        sock.listen(BACKLOG)
        _prepare(sock)
    except OSError as error:
        sock.close()
        hint = "stop what listens there, or choose another address" if error.errno == 98 else ""  # EADDRINUSE
        raise GaplessError("listen on", address, error.strerror or str(error), hint) from error
    return sock


def _inherit() -> list[tuple[str, socket.socket]]:
    """Every socket that LISTEN_FDS promises, and the variables unset: they speak to this process alone."""
    count, pid = (os.environ.get(variable, "") for variable in _VARIABLES[:2])
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    if not count.isdecimal():
        raise GaplessError("adopt", "the inherited sockets", f"LISTEN_FDS is {count!r}, not a number")
    if pid != str(os.getpid()):
        if not is_listening(FIRST_FD) and variables.RELEASE not in os.environ:  # a release of ours was given sockets
            _forget(pid)
            return []
        raise GaplessError(
            "adopt",
            "the inherited sockets",
            f"LISTEN_PID is {pid or 'not set'}, but this process is {os.getpid()}",
            "something between the manager and this program forked (sh -c, uv run, npm run): "
            "name the program itself as the command, or start it with `exec`",
        )
    sockets = [_adopt(fd) for fd in range(FIRST_FD, FIRST_FD + int(count))]
    for variable in _VARIABLES:
        os.environ.pop(variable, None)
    names += [""] * (len(sockets) - len(names))
    return [(its_name or "unknown", sock) for its_name, sock in zip(names, sockets, strict=False)]


def is_listening(fd: int) -> bool:
    """Whether a descriptor of this process is a listening stream socket."""
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            stream = sock.type == socket.SOCK_STREAM
            return stream and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _forget(pid: str) -> None:
    """Drop variables that speak to another process, which did not hand on its sockets: a shell that systemd started."""
    import logging  # this case alone pays for it

    said = "LISTEN_FDS is for the process %s, and descriptor %d is no listening socket: ignored, it leaked from there"
    logging.getLogger("gapless").warning(said, pid or "(LISTEN_PID is not set)", FIRST_FD)
    for variable in _VARIABLES:
        os.environ.pop(variable, None)


def _adopt(
    fd: int, hint: str = "LISTEN_FDS promises a descriptor that is not open: was it closed, or did a wrapper close it?"
) -> socket.socket:
    """The descriptor as a socket of its true family, type and protocol (a wrong one loses TCP_NODELAY in asyncio)."""
    what = f"inherited descriptor {fd}"
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise GaplessError("adopt", what, "it is not a socket")
        sock = HeldSocket(fileno=fd)
    except OSError as error:
        raise GaplessError("adopt", what, error.strerror or str(error), hint) from error
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise GaplessError("adopt", what, "it is not a listening stream socket", "use ListenStream= and Accept=no")
    _prepare(sock)
    return sock


def _prepare(sock: socket.socket) -> None:
    sock.set_inheritable(False)  # a child that inherits it would pin the accept queue
    sock.setblocking(False)  # shared by all who hold it; never cleared, it would freeze the others' accept
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Linux: accepted sockets inherit it, tcp(7)


def parse(written: str) -> tuple[str, int | None]:
    """Host and port of "host:port" or "[v6]:port"; of "unix:path" the path, and None. Raises GaplessError."""
    if written.startswith("unix:"):
        return written.removeprefix("unix:"), None
    host, colon, port = written.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise unusable(written, "it is not an address with a port up to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return ("0.0.0.0" if host in ("", "*") else host), int(port)  # noqa: S104 -- every interface is asked for


def expand(addresses: Sequence[str]) -> list[str]:
    """List `addresses`, those that mean IPv4 as well as IPv6 as two: each family has a socket of its own.

    "[::]:8000" is "0.0.0.0:8000", too, and "localhost:8000" both "127.0.0.1:8000" and, where this host has that,
    "[::1]:8000". Nothing is added where one of the list has that port in the family already.
    """
    # Not one socket for both: its IPv4 clients would be called ::ffff:192.0.2.1, which no list of trusted proxies has.
    found, parts = [], [_parts(one) for one in addresses]
    for written, (host, port) in zip(addresses, parts, strict=True):
        local = bool(port) and host == "localhost"  # else what may be added is of IPv4
        found.append(f"127.0.0.1:{port}" if local else written)
        if any(its_port == port and (":" in its) == local for its, its_port in parts):
            continue
        if local and _has_loopback_of_six():
            found.append(f"[::1]:{port}")
        elif port and host == "::":
            found.append(f"0.0.0.0:{port}")
    return found


def _parts(written: str) -> tuple[str, int | None]:
    """The host of an address as the kernel writes it, and its port; "" and None of what has none, or is no address."""
    try:
        host, port = parse(written)
    except GaplessError:
        return "", None
    if port is None:
        return "", None
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host)), port
    except OSError:
        return host, port


def _has_loopback_of_six() -> bool:
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as table:  # noqa: PTH123 -- as with unlink below
            return any(line.startswith(f"{1:032x} ") for line in table)
    except OSError:  # a kernel without IPv6
        return False


def unusable(written: str, cause: str) -> GaplessError:
    """The refusal of an address, with what one looks like."""
    hint = 'write it like "127.0.0.1:8000", "[::1]:8000" or "unix:/run/app.sock"'
    return GaplessError("listen on", repr(written), cause, hint, status=2)


def _resolve(address: str) -> tuple[int, str | tuple[str | int, ...]]:
    """Family and name as bind(2) takes them; raises GaplessError (status 2) also for a host that nobody knows."""
    host, port = parse(address)
    if port is None:
        return socket.AF_UNIX, host
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise GaplessError("listen on", address, f"host {host!r}: {error.strerror}", status=2) from error
    return found[0][0], (str(found[0][4][0]), *found[0][4][1:])


def _remove_stale(path: str) -> None:
    """Remove a Unix socket that nobody answers on any more; one that answers stays, and bind(2) says so."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                return  # connect(2) refuses any other file, too: it is not ours to remove
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108 -- importing pathlib would double the time of `import gapless`
        except FileNotFoundError:
            return
