"""Seal a release once it is built: from then on nobody writes it, whatever its build left open, linked or allowed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path

from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.release.copying import mode

ACLS = ("system.posix_acl_access", "system.posix_acl_default")  # acl(5): other users whom a file lets in
NO_ACLS = (errno.ENODATA, errno.ENOTSUP)


def seal(tree: Path, *, owned: bool) -> None:
    """Make `tree` root's if it is to be `owned` by root, else read-only for the one user that there is.

    A file that has a second name, or that somebody has open for writing, gets a new inode: its old one may be in a
    cache, or be written on. No link is followed. Nobody but we may be at work in `tree`. Raises GaplessError.
    """
    try:
        if owned:
            _close(tree)
        for folder, folders, files, directory in os.fwalk(tree):
            for name in (*folders, *files):
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if stat.S_ISLNK(found.st_mode):
                    if owned:
                        os.chown(name, 0, 0, dir_fd=directory, follow_symlinks=False)
                elif stat.S_ISREG(found.st_mode):
                    _seal_file(directory, name, owned=owned)
                elif not stat.S_ISDIR(found.st_mode):
                    cause = "it is a pipe, a socket or a device, and a release has files, directories and links alone"
                    raise GaplessError("seal", str(Path(folder, name)), cause, "let the build remove it at its end")
            if not owned:  # last: until then its one user makes files in it
                _settle(directory, stat.S_IFDIR, owned=False)
    except OSError as error:
        raise refusal("seal", str(tree), error) from error


def written_since(tree: Path, sealed: float) -> list[str]:
    """The files in `tree` that were made or changed since the Unix time `sealed`, by their names in it.

    Where all is one user, and most of all where that is root, a mode keeps nobody from it. Raises GaplessError.
    """
    found = []
    try:
        for folder, folders, files in os.walk(tree):
            folders[:] = [one for one in folders if one != "__pycache__"]
            for path in (Path(folder, name) for name in files):
                if path.lstat().st_ctime > sealed:
                    found.append(str(path.relative_to(tree)))
    except OSError as error:
        raise refusal("look through", str(tree), error) from error
    return sorted(found)


def _close(tree: Path) -> None:
    """Let nobody else make, rename or remove anything in `tree`: each directory before what is in it is listed.

    Somebody may have been given a directory by the build, as an open descriptor.
    """
    for _folder, folders, _files, directory in os.fwalk(tree):
        _settle(directory, stat.S_IFDIR, owned=True)
        with os.scandir(directory) as entries:
            folders[:] = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _seal_file(directory: int, name: str, *, owned: bool) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if found.st_nlink == 1:  # else it may be a cache's, too
            _settle(descriptor, found.st_mode, owned=owned)  # first: who opens it from now on, does not to write
            if not _may_be_written(descriptor):
                return
        fresh = f".{name[:200]}.sealed"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=directory)
        copy = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=directory)
        with os.fdopen(copy, "wb") as output:
            shutil.copyfileobj(file, output, 1 << 20)
            output.flush()
            _settle(copy, found.st_mode, owned=owned)
            os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.rename(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)


def _may_be_written(descriptor: int) -> bool:
    """Whether anybody has the file open for writing, or has it mapped so: then there is no lease (fcntl(2))."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:  # this file system has no leases: nobody knows
        return True
    return False


def _settle(descriptor: int, found: int, *, owned: bool) -> None:
    """Give an open file or directory the owner and the mode of a sealed one."""
    for acl in ACLS:
        try:
            os.removexattr(descriptor, acl)
        except OSError as error:
            if error.errno not in NO_ACLS:
                raise
    if owned:
        os.fchown(descriptor, 0, 0)
    wanted = 0o755 if stat.S_ISDIR(found) else mode(found)
    os.fchmod(descriptor, wanted if owned else wanted & ~0o222)
