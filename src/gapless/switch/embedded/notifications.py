"""What instances say: the receiving end of sd_notify(3), one datagram socket for each instance."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

UCRED = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)
LONGEST = 8192  # bytes of one message


def bind(name: str) -> socket.socket:
    """The non-blocking socket at the abstract `name`; raises OSError when another process has the name."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        receiver.setblocking(False)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        receiver.bind(name)
    except OSError:
        receiver.close()
        raise
    return receiver


def bind_again(name: str) -> socket.socket:
    """As `bind`, but a socket without a name, on which nothing ever comes, where another process has that."""
    try:
        return bind(name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)


def trusted() -> set[int]:
    """The users whose word counts: root and ourselves."""
    return {0, os.getuid()}


def messages(receiver: socket.socket) -> Iterator[dict[str, str]]:
    """Every message that waits, as its variables; those of other users than us and root are dropped."""
    # Abstract names have no file mode: whoever shares the network namespace can send.
    # The buffer holds credentials and nothing else, so descriptors that were sent along are closed by the kernel.
    room = socket.CMSG_SPACE(UCRED.size)
    while True:
        try:
            data, ancillary, _flags, _sender = receiver.recvmsg(LONGEST, room)
        except BlockingIOError:
            return
        if any(
            level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and UCRED.unpack(content)[1] in trusted()
            for level, kind, content in ancillary
            if len(content) == UCRED.size
        ):
            lines = (line.partition("=") for line in data.decode("utf-8", "replace").split("\n"))
            yield {name: value for name, equals, value in lines if equals}
