"""Room on the disk: looked at before a release is installed, and what has no other limit has one here."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.disk import HINTS
from gapless.linux.files import remove_tree
from gapless.release.attempt import Target

BLOCK = 512  # bytes, of st_blocks: stat(2)
SPARE = 16 << 20  # bytes beside the release: logs, units, the ledger, and what the app itself writes meanwhile
LARGEST_CACHE = 4 << 30  # bytes of what builds keep for the next one


def must_have_room(target: Target) -> None:
    """Refuse to begin what the disk has no room for: the next release is about as large as the current one.

    Raises GaplessError.
    """
    current = target.manager.current()
    wanted = SPARE + (taken(target.store.path(current)) if current else 0)
    there = next(one for one in (target.home.root.absolute(), *target.home.root.absolute().parents) if one.exists())
    found = os.statvfs(there)
    free = found.f_bavail * found.f_frsize
    if free < wanted:
        cause = f"{os.strerror(errno.ENOSPC)}: {free >> 20} MiB are free in {there}, and it takes some {wanted >> 20}"
        raise GaplessError("install", "a release", cause, HINTS[errno.ENOSPC])


def empty_cache(home: Home) -> int:
    """Remove what builds have cached when it is too much; the bytes that it had. Raises OSError."""
    if not home.builder or (found := taken(home.cache)) <= LARGEST_CACHE:
        return 0
    for path in home.cache.iterdir():
        remove_tree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return found


def taken(tree: Path) -> int:
    """Bytes that `tree` takes on the disk; what cannot be seen takes none, and no link is followed."""
    found = 0
    for folder, names, files in os.walk(tree):
        for name in (*names, *files):
            try:
                status = Path(folder, name).lstat()
            except OSError:
                continue  # its owner removed it
            if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode):
                found += status.st_blocks * BLOCK
    return found
