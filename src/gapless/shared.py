"""Directories in $GAPLESS_SHARED: the app's account makes them, as it can have put anything there."""

from __future__ import annotations

import pwd
from collections.abc import Iterable
from pathlib import Path

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux import confined
from gapless.linux.disk import refusal

WITHIN = 10.0  # seconds to make a directory


def make(home: Home, directories: Iterable[str]) -> None:
    """Make the `directories`, as the app's account where it has one; what is there stays. Raises GaplessError."""
    for path in (home.shared / one for one in directories):
        if path.is_dir():
            continue
        try:
            if home.owner:
                _make_as(pwd.getpwnam(home.owner), path)
            else:
                path.mkdir(mode=0o750, parents=True, exist_ok=True)
        except (OSError, LookupError) as error:
            raise refusal("make", str(path), error) from error


def _make_as(user: pwd.struct_passwd, path: Path) -> None:
    if problem := confined.run(["/bin/mkdir", "-p", "--", str(path)], user, WITHIN):
        raise GaplessError("make", str(path), problem, f"`ls -ld {path}` shows what is there: move that away")
