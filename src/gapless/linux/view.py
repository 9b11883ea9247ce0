"""A view of a directory at a second place: nothing can be written there, and no link in it leads anywhere.

The kernel sees to that, whoever looks: a server that would follow links finds none to follow (mount_setattr(2),
MOUNT_ATTR_NOSYMFOLLOW, since Linux 5.14).
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from gapless.linux.libc import checked, libc

# asm-generic/unistd.h: the same for every architecture that systemd knows.
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH = 0x1, 0x4
RDONLY, NOSUID, NODEV, NOEXEC, NOSYMFOLLOW = 0x1, 0x2, 0x4, 0x8, 0x200000
MNT_DETACH, UMOUNT_NOFOLLOW = 0x2, 0x8


class _Attributes(ctypes.Structure):
    """struct mount_attr of linux/mount.h."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    )


def show(directory: int, place: Path) -> None:
    """Show the directory that the descriptor `directory` is of at `place`, an empty one. Raises OSError.

    At no moment is it there without what a view keeps from happening.
    """
    attributes = _Attributes(RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW, 0, 0, 0)
    tree = checked(_call(OPEN_TREE, directory, b"", AT_EMPTY_PATH | OPEN_TREE_CLONE | os.O_CLOEXEC), str(place))
    try:
        size = ctypes.sizeof(attributes)
        checked(_call(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, ctypes.byref(attributes), size), str(place))
        checked(_call(MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(place), MOVE_MOUNT_F_EMPTY_PATH), str(place))
    finally:
        os.close(tree)


def hide(place: Path) -> None:
    """Take every view away from `place`; none is no error. Raises OSError."""
    try:
        while True:
            checked(libc.umount2(os.fsencode(place), MNT_DETACH | UMOUNT_NOFOLLOW), str(place))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):  # nothing is shown there
            raise


def _call(number: int, *arguments: object) -> int:
    # syscall(2) takes longs, and an argument that is given as an int is passed as one of 32 bits.
    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return int(libc.syscall(ctypes.c_long(number), *given))
