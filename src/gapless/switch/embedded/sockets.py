"""The sockets that the supervisor holds: bound once, and taken back from a running instance when it was killed."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from gapless.address import Address
from gapless.errors import GaplessError
from gapless.linux import procfs
from gapless.listen import bind, inherited
from gapless.switch.embedded.records import Record
from gapless.switch.held import inode, restore


def hold(addresses: Iterable[str], records: Iterable[Record]) -> dict[str, socket.socket]:
    """The listening socket of each address: taken back from the running instances of `records`, or bound anew.

    Raises GaplessError when an address is taken or changed, or when the kernel does not let us take it back.
    """
    wanted = [Address.parse(written) for written in addresses]
    held: dict[str, socket.socket] = {}
    with contextlib.ExitStack() as undo:
        for given in inherited():  # by systemd, or by the supervisor that we replace
            undo.callback(given.close)
            if not _known(wanted, given, held):
                raise GaplessError(
                    "use",
                    f"the socket {_where(given)} from systemd",
                    "gapless.toml does not listen there",
                    "make `listen` and the socket unit say the same",
                )
        for record in records:  # of what was given already their copies are not needed
            for taken in _take_back(record, {inode(one) for one in held.values()}):
                undo.callback(taken.close)
                if not _known(wanted, taken, held):
                    raise _changed(taken, record)
        for address in wanted:
            if address.written not in held:
                held[address.written] = undo.enter_context(_bind(address))
        undo.pop_all()
    restore(held.values())
    return {address.written: held[address.written] for address in wanted}


def _known(wanted: Iterable[Address], one: socket.socket, held: dict[str, socket.socket]) -> bool:
    """Whether a socket is of any of the addresses: it is the one `held` there, if none was before."""
    found = [address.written for address in wanted if address.is_of(one)]
    for written in found:
        held.setdefault(written, one)
    return bool(found)


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
