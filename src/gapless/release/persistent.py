"""Directories that outlive releases, each where the code looks for it: a link in the release into $GAPLESS_SHARED.

Such a link is made before anything of the release runs, and looked at again when nobody can write the release any more.
Nobody here follows it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux import confined
from gapless.linux.disk import refusal
from gapless.release import copying
from gapless.release.owner import account

SHARED = Home(Path()).shared.name
KEEPERS = (".gitkeep", ".keep", ".gitignore")  # by which git has a directory that is empty
WITHIN = 10.0  # seconds to make a directory


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


def make(home: Home, wanted: Mapping[str, str]) -> None:
    """Make the directories of `wanted` in $GAPLESS_SHARED, as the app's account where it has one. Raises GaplessError.

    What is there already stays as it is.
    """
    for directory in wanted.values():
        path = home.shared / directory
        if path.is_dir():
            continue
        try:
            if home.owner:
                _make_as(account(home.owner), path)
            else:
                path.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise refusal("make", str(path), error) from error


def _make_as(user: pwd.struct_passwd, path: Path) -> None:
    """Make a directory as `user`, who can have put anything there: root itself makes nothing in what is another's."""
    argv = ["/bin/mkdir", "-p", "--", str(path)]
    with confined.start(argv, user, umask=0o027, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env={}) as process:
        try:
            said = process.communicate(timeout=WITHIN)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            said = b"it took too long"
    if process.returncode:
        cause = said.decode(errors="replace").strip()[:300] or f"mkdir ended with {process.returncode}"
        raise GaplessError("make", str(path), cause, f"`ls -ld {path}` shows what is there: move that away")


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
