"""[notify]: a program of the host, run as whoever deploys, which under systemd is root.

So it is none that a release brings, or that anybody else can write to or put another in the place of.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gapless.config.settings import Notify
from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.disk import refusal
from gapless.linux.upwards import writers, writers_above
from gapless.release.commands import waited
from gapless.switch.job import Told, how_it_ended

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOPS = 40  # links after one another, as the kernel follows them: path_resolution(7)
LAST = 4096  # bytes of what it wrote last


def tell(notify: Notify, home: Home, told: Told) -> None:
    """Run the program of `notify` and wait until it has ended. Raises GaplessError."""
    must_be_ours(notify, home)
    program = notify.argv[0]
    with tempfile.TemporaryFile() as output:
        try:
            # The same for whoever deploys, from whatever shell.
            env = {"PATH": PATH, "HOME": pwd.getpwuid(os.geteuid()).pw_dir, "LANG": "C.UTF-8", **told.variables}
            status = waited(notify.argv, told.text, output, notify.timeout, cwd="/", env=env)
        except (OSError, KeyError) as error:
            raise refusal("run [notify]", program, error) from error
        except subprocess.TimeoutExpired:
            raise GaplessError("run [notify]", program, f"it took longer than {notify.timeout:g} s") from None
        if status:
            raise GaplessError("run [notify]", program, f"{how_it_ended(status)}{_last(output)}")


def must_be_ours(notify: Notify, home: Home) -> None:
    """Refuse a program, or a file that is named to it, of the app in `home`, or that others can write to.

    Raises GaplessError (status 2) that names it.
    """
    for word in notify.argv:
        path = Path(word)
        if path.is_absolute() and (word == notify.argv[0] or os.path.lexists(path)):
            try:
                _must_be_ours(path, home)
            except OSError as error:
                raise refusal("use in [notify]", word, error) from error


def _must_be_ours(path: Path, home: Home) -> None:
    who = pwd.getpwuid(os.geteuid()).pw_name
    if path.resolve().is_relative_to(home.root.resolve()):
        cause = f"it is the app's: [notify] runs as {who}, and never a program of a release"
        hint = "copy it to where no deploy changes it, /usr/local/lib say; a release's own programs are for [hooks]"
        raise GaplessError("use in [notify]", str(path), cause, hint, status=2)
    for one in _chain(path):
        if why := writers(one, {0, os.geteuid()}) or writers_above(one, {0, os.geteuid()}):
            cause = f"[notify] runs as {who}, and {why}"
            hint = f"let it and the directories above it be {who}'s alone to write, or name another program"
            raise GaplessError("use in [notify]", str(path), cause, hint, status=2)
    if not path.exists():
        raise GaplessError("use in [notify]", str(path), "there is no such file", "install it, or correct it", status=2)


def _chain(path: Path) -> Iterator[Path]:
    """The path, and what each of its links leads to."""
    for _ in range(HOPS):
        yield path
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()


def _last(output: BinaryIO) -> str:
    """The last line that it wrote."""
    output.seek(max(0, output.seek(0, os.SEEK_END) - LAST))
    lines = output.read().decode(errors="replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""
