"""Files: replaced by one rename(2), on disk when that returns, and read from their ends."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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


def tail(path: Path, lines: int = TAIL) -> tuple[str, ...]:
    """The last lines of a file, of at most 64 KiB; nothing where there is no such file, or it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 16)))
            text = file.read()
    except OSError:
        return ()
    return tuple(text.decode(errors="replace").splitlines()[-lines:])


def sync(directory: Path) -> None:
    """Make the names in `directory` durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(tree: Path) -> None:
    """Remove the directory `tree`, also where directories in it are read-only; none is no error. Raises OSError."""
    if not tree.exists():
        return
    # Root may remove them as they are, and must not follow a link that the tree's owner puts there meanwhile.
    for folder, names, _files in os.walk(tree) if os.geteuid() else ():
        Path(folder).chmod(0o700)
        for path in (Path(folder, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(tree)
