"""Files that only stand in for others: Git LFS leaves its pointer where it has not fetched the file."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from gapless.errors import GaplessError
from gapless.release import copying

POINTER = b"version https://git-lfs.github.com/spec/v1"
LARGEST = 1024  # bytes; a pointer has less
PULL = ("lfs install --local", "lfs pull")  # what git is told to fetch the files; without the first the second may not
SHOWN = 5


def refuse_pointers(tree: Path, whence: str, hint: Callable[[str], str]) -> None:
    """Raise GaplessError when there is a pointer in `tree`, which came from `whence`; it gets the first's `hint`."""
    names = []
    for folder, _folders, files in os.walk(tree):
        for path in (Path(folder, name) for name in files):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and len(POINTER) <= found.st_size < LARGEST:
                with copying.opened(path.parent, path.name) as file:
                    if file.read(len(POINTER)) == POINTER:
                        names.append(str(path.relative_to(tree)))
    if names:
        cause = f"Git LFS has the files that these stand for: {some(names)}"
        raise GaplessError("deploy", whence, cause, hint(min(names)))


def some(names: Collection[str]) -> str:
    """The first of the names, and how many more there are."""
    shown = ", ".join(repr(name) for name in sorted(names)[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
