"""Room on the disk: looked at before a release is installed, and what has no other limit has one here."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NoReturn

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.disk import HINTS
from gapless.linux.files import remove_tree
from gapless.release.attempt import Target

BLOCK = 512  # bytes, of st_blocks: stat(2)
SPARE = 16 << 20  # bytes beside the release: logs, units, the ledger, and what the app itself writes meanwhile
SPARE_FILES = 1000  # inodes beside the release, for the same
LARGEST_CACHE = 4 << 30  # bytes of what builds keep for the next one


def must_have_room(target: Target) -> None:
    """Refuse to begin what the disk has no room for: the next release is about as large as the current one.

    Raises GaplessError.
    """
    current = target.manager.current()
    size, files = taken(target.store.path(current)) if current else (0, 0)
    there = next(one for one in (target.home.root.absolute(), *target.home.root.absolute().parents) if one.exists())
    found = os.statvfs(there)
    free = found.f_bavail * found.f_frsize
    if free < size + SPARE:
        _refuse(f"{free >> 20} MiB are free in {there}, and it takes some {size + SPARE >> 20}")
    if found.f_files and found.f_favail < files + SPARE_FILES:  # some file systems do not count them
        _refuse(f"{found.f_favail} more files can be made in {there}, and it takes some {files + SPARE_FILES}")


def _refuse(what: str) -> NoReturn:
    cause = f"{os.strerror(errno.ENOSPC)}: {what}"
    raise GaplessError("install", "a release", cause, HINTS[errno.ENOSPC])


def empty_cache(home: Home) -> int:
    """Remove what builds have cached when it is too much; the bytes that it had. Raises OSError."""
    if not home.builder or (found := taken(home.cache)[0]) <= LARGEST_CACHE:
        return 0
    for path in home.cache.iterdir():
        remove_tree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return found


def taken(tree: Path) -> tuple[int, int]:
    """Bytes and inodes that `tree` takes on the disk; what cannot be seen takes none, and no link is followed."""
    size = files = 0
    for folder, names, others in os.walk(tree):
        for name in (*names, *others):
            try:
                status = Path(folder, name).lstat()
            except OSError:
                continue  # its owner removed it
            if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode):
                size += status.st_blocks * BLOCK
                files += 1
    return size, files
