"""Files that only stand in for others.

Git LFS leaves its pointer where it has not fetched the file, and git itself has only the ciphertext of git-crypt's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from gapless.errors import GaplessError
from gapless.release import copying

POINTER = b"version https://git-lfs.github.com/spec/v1"
ENCRYPTED = b"\0GITCRYPT\0"  # so each file begins that git-crypt has not decrypted
UNLOCK = "`git-crypt unlock` decrypts them in a clone; then deploy that directory as it is, without a revision"
LARGEST = 1024  # bytes; a pointer has less
PULL = ("lfs install --local", "lfs pull")  # what git is told to fetch the files; without the first the second may not
ATTRIBUTES = 1 << 20  # bytes of a .gitattributes that are looked at
SHOWN = 5


def refuse_pointers(tree: Path, whence: str, hint: Callable[[str], str]) -> None:
    """Raise GaplessError when there is a pointer in `tree`, which came from `whence`; it gets the first's `hint`."""
    names, regular, crypt = [], list[Path](), False
    for folder, _folders, files in os.walk(tree):
        for path in (Path(folder, name) for name in files):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode):
                regular.append(path)
                if len(POINTER) <= found.st_size < LARGEST and _head(path, len(POINTER)) == POINTER:
                    names.append(str(path.relative_to(tree)))
                # Where it is named, and nowhere else, every file is looked at.
                crypt = crypt or (path.name == ".gitattributes" and b"git-crypt" in _head(path, ATTRIBUTES))
    if crypt and (locked := [str(one.relative_to(tree)) for one in regular if _head(one, len(ENCRYPTED)) == ENCRYPTED]):
        raise GaplessError("deploy", whence, f"git-crypt has encrypted {some(locked)}", UNLOCK)
    if names:
        cause = f"Git LFS has the files that these stand for: {some(names)}"
        raise GaplessError("deploy", whence, cause, hint(min(names)))


def _head(path: Path, size: int) -> bytes:
    with copying.opened(path.parent, path.name) as file:
        return file.read(size)


def some(names: Collection[str]) -> str:
    """The first of the names, and how many more there are."""
    shown = ", ".join(repr(name) for name in sorted(names)[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
