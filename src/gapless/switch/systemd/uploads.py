"""What Caddy sees of the directories of [uploads]: a view of each, below a directory that is root's.

As a program, `python -m gapless.switch.systemd.uploads show|hide ROOT USER PREFIX=DIRECTORY …`, it is what a unit runs:
views do not outlive a boot.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux import view
from gapless.linux.disk import refusal
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome

FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
TOO_OLD = (errno.ENOSYS, errno.EINVAL)


def unit(home: SystemdHome, uploads: Mapping[str, str]) -> str:
    """Render the unit that has the views from a boot on."""
    argv = [sys.executable, "-P", "-m", __name__]
    about = [str(home.root), home.owner, *(f"{prefix}={directory}" for prefix, directory in uploads.items())]
    return units.render("uploads", home=home, show=[*argv, "show", *about], hide=[*argv, "hide", *about])


def place(home: Home, prefix: str) -> Path:
    """Where Caddy sees what visitors find at `prefix`."""
    return home.uploads / prefix.strip("/")


@contextlib.contextmanager
def opened(home: Home, directory: str, user: int) -> Iterator[int]:
    """A descriptor of `directory` in $GAPLESS_SHARED, reached over no link. Raises GaplessError where it is not his."""
    where = home.shared / directory
    cause, hint = "it belongs to somebody else", f"`ls -ld {where}` shows what is there: move that away"
    descriptor = os.open(home.shared, FOLDER)
    try:
        for part in PurePosixPath(directory).parts:
            inner = os.open(part, FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        if os.fstat(descriptor).st_uid == user:
            yield descriptor
            return
    except OSError as error:
        cause = "a link is in the way" if error.errno in (errno.ELOOP, errno.ENOTDIR) else error.strerror or str(error)
    finally:
        os.close(descriptor)
    raise GaplessError("show", f"{where} to Caddy", cause, hint)


def is_shown(home: Home, prefix: str, directory: str) -> bool:
    """Whether Caddy sees that directory, and no other that was there before. Raises PermissionError."""
    try:
        here, there = (home.shared / directory).lstat(), place(home, prefix).lstat()
    except FileNotFoundError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def show(home: Home, user: int, uploads: Mapping[str, str]) -> None:
    """Show each directory in its place, and nothing in the place of another. Raises GaplessError."""
    for prefix, directory in uploads.items():
        where = place(home, prefix)
        with opened(home, directory, user) as descriptor:
            try:
                view.hide(where)
                where.mkdir(parents=True, exist_ok=True)
                view.show(descriptor, where)
            except OSError as error:
                if error.errno in TOO_OLD:
                    cause = "this kernel cannot show it without its links"
                    hint = "use a kernel from 5.14 on, or take [uploads] away: then the app serves them itself"
                    raise GaplessError("show", f"{home.shared / directory} to Caddy", cause, hint) from error
                raise refusal("show", f"{home.shared / directory} to Caddy", error) from error


def hide(home: Home, uploads: Mapping[str, str]) -> None:
    """Take each view away, and the empty directories that it was in. Raises OSError."""
    for prefix in uploads:
        where = place(home, prefix)
        view.hide(where)
        with contextlib.suppress(OSError):  # it is not there, or another view is beside it
            while where != home.uploads:
                where.rmdir()
                where = where.parent


def main(verb: str, root: str, user: str, *pairs: str) -> str | int:
    """Do what the unit asks for; the exit status, or what is wrong."""
    home, uploads = Home(Path(root)), dict(pair.split("=", 1) for pair in pairs)
    try:
        if verb == "hide":
            hide(home, uploads)
        else:
            show(home, pwd.getpwnam(user).pw_uid, uploads)
    except GaplessError as error:
        return str(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
