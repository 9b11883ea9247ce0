"""Copy into a release what a source listed: one rule for modes, and nothing that was swapped meanwhile is followed."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from gapless.errors import GaplessError
from gapless.release.budget import Budget


def mode(found: int) -> int:
    """The mode of a release's file, of which only the owner's x bit counts: no set-id bit, no umask, no group's w."""
    return 0o755 if found & stat.S_IXUSR else 0o644


def open_directories(tree: Path) -> None:
    """Let everybody into the directories in `tree`, which itself stays as it is: the store says when it is complete."""
    for folder, names, _files in os.walk(tree):
        for path in (Path(folder, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o755)


@contextlib.contextmanager
def opened(directory: Path, name: str) -> Iterator[io.BufferedReader]:
    """The regular file `name` below `directory`, open for reading. Raises GaplessError when it is none, or OSError."""
    with parent(directory, name) as (folder, last), _open(folder, last, directory / name) as file:
        yield file


def copy(directory: Path, name: str, kind: int, target: Path, budget: Budget) -> None:
    """Copy `name`, of the `kind` (S_IFMT) that it had when it was listed, from `directory` to `target`.

    Time stamps are kept. Raises GaplessError when it has become something else or too much, or OSError.
    """
    budget.enter(name)
    with parent(directory, name) as (folder, last), parent(target, name, make=True) as (copied, _):
        found = os.stat(last, dir_fd=folder, follow_symlinks=False)
        if stat.S_IFMT(found.st_mode) != kind:
            raise _swapped(directory / name)
        if stat.S_ISDIR(kind):
            with contextlib.suppress(FileExistsError):
                os.mkdir(last, dir_fd=copied)
            return
        if stat.S_ISLNK(kind):
            os.symlink(os.readlink(last, dir_fd=folder), last, dir_fd=copied)
        else:
            with _open(folder, last, directory / name) as file:
                found = os.fstat(file.fileno())
                with _create(copied, last, found.st_mode) as output:
                    budget.copy(file, output)
        os.utime(last, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=copied, follow_symlinks=False)


@contextlib.contextmanager
def created(target: Path, name: str, found: int) -> Iterator[IO[bytes]]:
    """The new file `name` in `target`, open for writing; its mode is made of the one `found`.

    Raises GaplessError when something else stands in its way, or OSError.
    """
    with parent(target, name, make=True) as (folder, last), _create(folder, last, found) as file:
        yield file


def link(target: Path, name: str, text: bytes) -> None:
    """Make the link `name` in `target`. Raises as `created` does."""
    with parent(target, name, make=True) as (folder, last):
        os.symlink(text, os.fsencode(last), dir_fd=folder)


@contextlib.contextmanager
def _create(folder: int, name: str, found: int) -> Iterator[IO[bytes]]:
    fresh = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    with os.fdopen(fresh, "wb") as file:
        yield file
        os.fchmod(fresh, mode(found))


@contextlib.contextmanager
def parent(top: Path, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory in `top` that holds `name`, reached over no link; and the last part of `name`."""
    *folders, last = PurePosixPath(name).parts
    descriptor = os.open(top, os.O_PATH | os.O_DIRECTORY)
    try:
        for folder in folders:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=descriptor)
            try:
                inner = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            except NotADirectoryError:
                raise _swapped(top / name) from None
            os.close(descriptor)
            descriptor = inner
        yield descriptor, last
    finally:
        os.close(descriptor)


def _open(folder: int, name: str, path: Path) -> io.BufferedReader:
    """Without O_NONBLOCK a pipe would be waited for, for ever."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket, or a device without a driver
            raise _swapped(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _swapped(path)
    return os.fdopen(descriptor, "rb")


def _swapped(path: Path) -> GaplessError:
    cause = "it is not, or no longer, the regular file, link or directory that was to be copied"
    return GaplessError("copy", str(path), cause, "see what it is with `ls -l`; repeat this when nobody changes it")
