"""Files: replaced by one rename(2), on disk when that returns, and read from their ends."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gapless.errors import GaplessError

LINE = 2000  # characters of a line that is shown
TAIL = 30  # lines: enough for a traceback of an import, wherever its innermost frame stands


def replace(path: Path, text: str) -> bool:
    """Make `path` hold `text`, or leave it as it was; False when it held that already. Raises OSError.

    The directory is made where it is missing.
    """
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.gapless-{os.getpid()}")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync(path.parent)
    return True


def open_regular(path: Path) -> BinaryIO:
    """Open the regular file at `path`, where a link may lead to it, for reading. Raises OSError, also for all else.

    A pipe is not waited for, and a device not touched: to open it, a watchdog's say, may do something.
    """
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return os.fdopen(os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    finally:
        os.close(place)


def close_to_others(path: Path, uid: int) -> None:
    """Let only its owner, who is to be the user `uid`, read and write the file `path`, which may be in his directory.

    Raises OSError for a link, or what is another's or no regular file: it stays as it is.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != uid:
            raise OSError(errno.EPERM, "it is no regular file of its own user", str(path))
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def tail(path: Path, lines: int = TAIL) -> tuple[str, ...]:
    """The last lines of a file, of at most 64 KiB; nothing where there is no such file, or it cannot be read.

    Of a line that is longer than anybody reads, its end.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 16)))
            text = file.read()
    except OSError:
        return ()
    last = text.decode(errors="replace").splitlines()[-lines:]
    return tuple(line if len(line) <= LINE else f"…{line[-LINE:]}" for line in last)


def sync(directory: Path) -> None:
    """Make the names in `directory` durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def not_too_deep(operation: str, object_: str) -> Iterator[None]:
    """Raise GaplessError where directories inside are nested so deeply that Python cannot walk through them."""
    try:
        yield
    except RecursionError:
        cause = "its directories are nested too deeply"
        raise GaplessError(operation, object_, cause, "let there be less than 900, one in the other") from None


def remove_tree(tree: Path) -> None:
    """Remove the directory `tree`, also where directories in it are read-only; none is no error. Raises OSError."""
    if not tree.exists():
        return
    try:
        _remove_tree(tree)
    except RecursionError:  # who made it wants it to stay, or nothing to go on: rm(1) goes as deep as it likes
        for argv in (["chmod", "-R", "u+rwX"], ["rm", "-rf"])[os.geteuid() == 0 :]:
            done = subprocess.run([*argv, "--", str(tree)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(done.stderr[:1000].strip()) from None


def clear_way(path: Path) -> None:
    """Remove what is at `path`, a directory as well: whoever may make files there could mean to be in the way.

    Raises OSError.
    """
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        remove_tree(path)


def _remove_tree(tree: Path) -> None:
    # Root may remove them as they are, and must not follow a link that the tree's owner puts there meanwhile.
    for folder, names, _files in os.walk(tree) if os.geteuid() else ():
        Path(folder).chmod(0o700)
        for path in (Path(folder, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(tree)
