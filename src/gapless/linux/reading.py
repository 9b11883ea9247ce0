"""Read as another user what that user may read, and nothing else: a child becomes that user and sends it."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

from gapless.errors import GaplessError


@contextlib.contextmanager
def reading_as(user: pwd.struct_passwd, send: Callable[[BinaryIO], None]) -> Iterator[BinaryIO]:
    """Give what `send` writes in a child that has become `user` for good; the child ends with the block.

    `send` reports its own errors in what it writes. Raises GaplessError when the child fails otherwise.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        _be_the_child(user, send, readable, writable)
    os.close(writable)
    try:
        with os.fdopen(readable, "rb") as stream:
            yield stream
    except BaseException:
        os.kill(child, signal.SIGKILL)  # nobody has reaped it: the number is still its own
        os.waitpid(child, 0)
        raise
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise GaplessError("read as", user.pw_name, "the process that reads ended before it had sent everything")


def _be_the_child(user: pwd.struct_passwd, send: Callable[[BinaryIO], None], readable: int, writable: int) -> None:
    status = 1
    try:
        os.close(readable)
        os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
        with os.fdopen(writable, "wb") as stream:
            send(stream)
        status = 0
    finally:
        os._exit(status)
