"""The open file description that all who hold a socket share: who has it, and what an instance did to it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator

from gapless.address import Address
from gapless.linux import procfs
from gapless.listen import BACKLOG


def inode(held: socket.socket) -> int:
    """The number that /proc shows for the socket: the same in every process that has it."""
    return os.fstat(held.fileno()).st_ino


def restore(held: Iterable[socket.socket]) -> None:
    """Undo what an instance did to the open file description that all share: a cut backlog, a blocking accept."""
    for one in held:
        one.setblocking(False)
        socket.socket.listen(one, BACKLOG)  # also where a subclass protects the backlog from apps


def restore_in(pid: int, addresses: Iterable[str]) -> None:
    """Undo what an instance did to its sockets at `addresses`, as process `pid` has them; none is no error."""
    for one in listening(pid, addresses):
        restore([one])


def inodes(pid: int, addresses: Iterable[str]) -> set[int]:
    """The inodes of what `listening` yields: none where the process accepts there no more, or is not to be asked."""
    return {inode(one) for one in listening(pid, addresses)}


def listening(pid: int, addresses: Iterable[str]) -> Iterator[socket.socket]:
    """Yield the sockets of process `pid` that listen at `addresses`, each open until the next; it may have ended."""
    wanted = [Address.parse(written) for written in addresses]
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for descriptor in procfs.sockets(pid).values():
            with contextlib.suppress(OSError), socket.socket(fileno=procfs.take(pidfd, descriptor)) as one:
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and any(each.is_of(one) for each in wanted):
                    yield one
    except (FileNotFoundError, ProcessLookupError):
        return  # it ended while we looked
    finally:
        os.close(pidfd)
