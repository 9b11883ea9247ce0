"""The held sockets: bound once, and taken back from a running instance when the supervisor was killed."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gapless.errors import GaplessError
from gapless.linux import procfs
from gapless.listen import BACKLOG, bind, listen
from gapless.switch.records import Record


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


def taken(addresses: Iterable[str]) -> str:
    """Which of `addresses` others listen on, and who; empty when none is known."""
    found = []
    for address in map(Address.parse, addresses):
        if isinstance(address.name, tuple) and (who := procfs.listener(address.name[1])):
            found.append(f"{address.written} is in use by {who}")
    return "; ".join(found)


def hold(addresses: Iterable[str], records: Iterable[Record]) -> dict[str, socket.socket]:
    """The listening socket of each address: taken back from the running instances of `records`, or bound anew.

    Raises GaplessError when an address is taken or changed, or when the kernel does not let us take it back.
    """
    wanted = [Address.parse(written) for written in addresses]
    held: dict[str, socket.socket] = {}
    with contextlib.ExitStack() as undo:
        for record in records:
            for taken in _take_back(record, {inode(one) for one in held.values()}):
                undo.callback(taken.close)
                address = next((address for address in wanted if address.is_of(taken)), None)
                if address is None:
                    raise _changed(taken, record)
                held.setdefault(address.written, taken)
        for given in _activated():
            undo.callback(given.close)
            address = next((address for address in wanted if address.is_of(given)), None)
            if address is None:
                raise GaplessError(
                    "use",
                    f"the socket {_where(given)} from systemd",
                    "gapless.toml does not listen there",
                    "make `listen` and the socket unit say the same",
                )
            # After a supervisor was killed systemd hands the same sockets to the next: the instance's copy will do.
            if held.setdefault(address.written, given) is not given:
                given.close()
        for address in wanted:
            if address.written not in held:
                held[address.written] = undo.enter_context(_bind(address))
        undo.pop_all()
    put_right(held.values())
    return {address.written: held[address.written] for address in wanted}


def inode(held: socket.socket) -> int:
    """The number that /proc shows for the socket: the same in every process that has it."""
    return os.fstat(held.fileno()).st_ino


def _activated() -> list[socket.socket]:
    """The sockets that we were started with, if `gapless run` itself is socket-activated (sd_listen_fds(3))."""
    return listen() if "LISTEN_FDS" in os.environ else []


def put_right(held: Iterable[socket.socket]) -> None:
    """Undo what an instance did to the open file description that all share: a cut backlog, a blocking accept."""
    for one in held:
        one.setblocking(False)
        socket.socket.listen(one, BACKLOG)  # also where a subclass protects the backlog from apps


def put_right_in(pid: int, addresses: Iterable[str]) -> None:
    """The same, for what the process `pid` has of `addresses`; one that has none, or ended, is no error."""
    wanted = [Address.parse(written) for written in addresses]
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for descriptor in procfs.sockets(pid).values():
            with contextlib.suppress(OSError), socket.socket(fileno=procfs.take(pidfd, descriptor)) as one:
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and any(each.is_of(one) for each in wanted):
                    put_right([one])
    except (FileNotFoundError, ProcessLookupError):
        return  # it ended while we looked
    finally:
        os.close(pidfd)


def _take_back(record: Record, have: set[int]) -> list[socket.socket]:
    """The sockets that the instance was given and still has, itself or a process of its session, less those we have."""
    missing = set(record.sockets.values()) - have
    taken = []
    for pid in procfs.session(record.pid):
        if not missing:
            break
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue  # a worker that ended while we looked
        try:
            open_there = procfs.sockets(pid)
            for inode in missing & open_there.keys():
                taken.append(socket.socket(fileno=procfs.take(pidfd, open_there[inode])))
                missing.discard(inode)
        except PermissionError as error:
            for one in taken:
                one.close()
            raise GaplessError(
                "take back",
                f"the listening socket from the running instance {record.id} (pid {pid})",
                f"the kernel forbids it ({error.strerror})",
                "it goes on serving, unsupervised. Either allow it with `sysctl kernel.yama.ptrace_scope=0` "
                f"(or as root) and run this again, or end it with `kill {record.pid}` and run this again: "
                "the port is closed in between",
            ) from error
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        finally:
            os.close(pidfd)
    return taken


def _bind(address: Address) -> socket.socket:
    name = address.name
    where = f"unix:{name}" if isinstance(name, str) else f"[{name[0]}]:{name[1]}"
    try:
        held = bind(where)
        if isinstance(name, str):
            Path(name).chmod(0o666)  # as systemd's SocketMode: the proxy is another user
    except GaplessError as error:
        raise _not_bound(address, error) from error
    return held


def _not_bound(address: Address, error: GaplessError) -> GaplessError:
    cause, hint = error.cause, error.hint
    number = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
    if number == errno.EADDRINUSE:
        who = "" if isinstance(address.name, str) else procfs.listener(address.name[1])
        cause = f"the address is in use by {who or 'another process'}"
        hint = "stop that process, or change `listen` in gapless.toml"
    elif number == errno.EACCES:
        hint = "ports below 1024 need root or CAP_NET_BIND_SERVICE; a Unix socket needs a directory you may write"
    return GaplessError("listen on", address.written, cause, hint)


def _changed(taken: socket.socket, record: Record) -> GaplessError:
    where = _where(taken)
    hint = f"put {where} back into `listen`, or end that instance first: `kill {record.pid}`"
    return GaplessError(
        "change",
        "the listen address",
        f"the running instance {record.id} (pid {record.pid}) listens on {where}, gapless.toml does not",
        hint,
    )


def _where(held: socket.socket) -> str:
    name = held.getsockname()
    return name if isinstance(name, str) else f"{name[0]}:{name[1]}"


def _unusable(written: str, cause: str) -> GaplessError:
    hint = 'write it like "127.0.0.1:8000", "[::1]:8000" or "unix:/run/app.sock"'
    return GaplessError("listen on", repr(written), cause, hint, status=2)
