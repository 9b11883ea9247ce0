"""What a release is made of, as one digest: two sources of the same content differ in no file, however they came."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gapless.release.stamps import SKIPPED


def digest(tree: Path) -> str:
    """Digest names, modes and contents of all that is in `tree`, before its build; time stamps do not count.

    Nobody but the caller may be able to write in `tree`. Raises OSError.
    """
    whole = hashlib.sha256()
    for name in names(tree):
        path = tree / name
        mode, content = path.lstat().st_mode, b""
        if stat.S_ISLNK(mode):
            mode, content = stat.S_IFLNK, os.fsencode(path.readlink())  # a link's own bits mean nothing
        elif stat.S_ISREG(mode):
            content = bytes.fromhex(file_hash(path))
        else:
            mode = stat.S_IFDIR
        whole.update(b"%s\0%o\0%d\0%s" % (os.fsencode(name), mode, len(content), content))
    return whole.hexdigest()


def files(tree: Path) -> dict[str, str]:
    """Hash each regular file below `tree` by its name; what a build fetched or compiled is not looked at.

    Raises OSError.
    """
    found = (name for name in names(tree) if not {*SKIPPED} & {*name.split("/")})
    return {name: file_hash(tree / name) for name in found if stat.S_ISREG((tree / name).lstat().st_mode)}


def file_hash(path: Path) -> str:
    """Hash what is in the file `path`. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def names(tree: Path) -> list[str]:
    """List every file and link below `tree`, and the directories that are empty: the others go without saying."""
    return sorted(_names(tree))


def _names(tree: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(tree):
        here = Path(folder)
        if not folders and not files and here != tree:
            yield str(here.relative_to(tree))
        for name in (*files, *(one for one in folders if (here / one).is_symlink())):
            yield str((here / name).relative_to(tree))
