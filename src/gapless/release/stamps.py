"""Time stamps of a release: what has equal bytes keeps its own, what has not gets a later one.

A web server's validators are whole seconds and a size. Both trees may belong to users who change them meanwhile: no
link is followed, and what has a second name, which may be anywhere, is neither compared nor touched.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

COMPILED = "__pycache__"
SKIPPED = (".venv", "node_modules", ".git", COMPILED)  # a build's own, and large
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would be waited for
DEEPEST = 200  # directories; a tree that is made to hold up has more
SECOND = 1_000_000_000  # nanoseconds


def settle(tree: Path, previous: Path | None, moment: float) -> None:
    """Give each regular file of `tree` the time stamp of its equal in `previous`, or else `moment` (Unix seconds).

    Where the one in `previous` differs, it is at least a second more than that one's. Directories, links and what is in
    SKIPPED directories stay as they are; so does what has several names, is below DEEPEST directories, or cannot be
    opened, and Python that a build has compiled, which is good for that very time stamp. Raises OSError.
    """
    os.close(os.open(tree, FOLDER))  # the one that has to be there
    todo: list[tuple[str, ...]] = [()]
    while todo:
        parts = todo.pop()
        with _folder(tree, parts) as folder, _folder(previous, parts) as before:
            if folder is None:
                continue
            with os.scandir(folder) as found:
                entries = list(found)
            compiled = any(entry.name == COMPILED for entry in entries)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in SKIPPED and len(parts) < DEEPEST:
                        todo.append((*parts, entry.name))
                elif entry.is_file(follow_symlinks=False) and not (compiled and entry.name.endswith(".py")):
                    _settle_file(folder, before, entry.name, int(moment) * SECOND)


def _settle_file(folder: int, before: int | None, name: str, stamp: int) -> None:
    with _file(folder, name) as file, _file(before, name) as old:
        if file is None or (now := os.fstat(file.fileno())).st_nlink > 1:
            return
        if old is not None:
            was = os.fstat(old.fileno())
            if was.st_nlink == 1 and was.st_size == now.st_size and _equal(file, old, now.st_size):
                stamp = was.st_mtime_ns
            else:
                stamp = max(stamp, (-(-was.st_mtime_ns // SECOND) + 1) * SECOND)  # rounded up
        if stamp != now.st_mtime_ns:
            os.utime(file.fileno(), ns=(now.st_atime_ns, stamp))


def _equal(one: IO[bytes], other: IO[bytes], left: int) -> bool:
    """Whether the next `left` bytes are; no more is read, should the files grow."""
    while left:
        part = one.read(min(left, 1 << 20))
        if not part or part != other.read(len(part)):
            return False
        left -= len(part)
    return True


@contextlib.contextmanager
def _folder(top: Path | None, parts: tuple[str, ...]) -> Iterator[int | None]:
    """A descriptor of the directory, reached over no link; None where there is no such directory."""
    folder = _open(str(top), FOLDER, None) if top else None
    try:
        for part in parts:
            outer, folder = folder, _open(part, FOLDER, folder) if folder is not None else None
            if outer is not None:
                os.close(outer)
        yield folder
    finally:
        if folder is not None:
            os.close(folder)


@contextlib.contextmanager
def _file(folder: int | None, name: str) -> Iterator[IO[bytes] | None]:
    """The regular file, open for reading; None where there is none."""
    descriptor = _open(name, FILE, folder) if folder is not None else None
    if descriptor is not None and not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        descriptor = None
    if descriptor is None:
        yield None
        return
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _open(name: str, flags: int, folder: int | None) -> int | None:
    with contextlib.suppress(OSError):
        return os.open(name, flags, dir_fd=folder)
    return None
