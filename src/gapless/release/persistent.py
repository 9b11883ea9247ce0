"""Directories that outlive releases, each where the code looks for it: a link in the release into $GAPLESS_SHARED.

Such a link is made before anything of the release runs, and looked at again when nobody can write the release any more.
Nobody here follows it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.release import copying

SHARED = Home(Path()).shared.name
KEEPERS = (".gitkeep", ".keep", ".gitignore")  # by which git has a directory that is empty


def link(tree: Path, shared: Mapping[str, str]) -> list[str]:
    """Put the links of `shared` into `tree`, a release before its build; the files that they take the place of.

    Nobody else may be able to write in `tree`. Raises GaplessError, OSError.
    """
    replaced: list[str] = []
    for path, directory in shared.items():
        with _reached(tree, path) as (folder, last):
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(last, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    replaced += _files(tree, path)
                    shutil.rmtree(last, dir_fd=folder)
                else:
                    replaced.append(path)
                    os.unlink(last, dir_fd=folder)
            os.symlink(_text(path, directory), last, dir_fd=folder)
    return sorted(replaced)


def must_be_linked(tree: Path, shared: Mapping[str, str]) -> None:
    """Refuse a release whose build made something else of a link: its data would go with it. Raises GaplessError."""
    for path, directory in shared.items():
        try:
            with copying.parent(tree, path) as (folder, last):
                kept = os.readlink(last, dir_fd=folder) == _text(path, directory)
        except (OSError, GaplessError):
            kept = False
        if not kept:
            cause = f"its build put something else in the place of the link to $GAPLESS_SHARED/{directory}"
            hint = f"have the build leave {path} alone, or take it out of `[shared]`"
            raise GaplessError("keep", f"{path} of {tree.name}", cause, hint)


def _text(path: str, directory: str) -> str:
    """What the link says: relative, so that it is right wherever the app's home is."""
    up = len(PurePosixPath(path).parts) + 1  # the release, and the directory of releases
    return "/".join([*[".."] * up, SHARED, directory])


def _files(tree: Path, path: str) -> list[str]:
    """The files below a directory that somebody would miss."""
    walked = os.walk(tree / path)
    found = (Path(folder, name) for folder, _folders, files in walked for name in files if name not in KEEPERS)
    return [str(one.relative_to(tree)) for one in found]


@contextlib.contextmanager
def _reached(tree: Path, path: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that is to hold a link, made where it is missing, and the link's own name."""
    try:
        with copying.parent(tree, path, make=True) as found:
            yield found
    except (GaplessError, FileExistsError, NotADirectoryError) as error:
        cause = "a link or a file is in the way"
        hint = f"have the project keep directories alone above {path}, or name another path in `[shared]`"
        raise GaplessError("link", f"{path} of the release to $GAPLESS_SHARED", cause, hint) from error
