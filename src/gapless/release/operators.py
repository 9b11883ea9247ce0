"""A deploy for an operator, who may deploy one app as root and decide nothing else on the host.

What the operator names is read as the operator, or root would hand out files that only root may read. What the app may
do on the host stays as it is.
"""

from __future__ import annotations

import pwd
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from gapless.config import Config, Sandbox
from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.reading import reading_as
from gapless.release import copying, sources
from gapless.release.archive import check_links, unpack

RIGHTS = Sandbox.__struct_fields__
HINT = "whoever may run `sudo gapless deploy` without --app decides that"
PARTS = ("operation", "object", "cause", "hint")
LONGEST = 1 << 20  # bytes of a line, of a file of variables or of a secret


class Head(msgspec.Struct):
    """The first line that a reader sends: what a Source knows, or the parts of a GaplessError."""

    what: str = ""
    short: str = ""
    revision: str = ""
    error: dict[str, str] = {}


def find_as(user: pwd.struct_passwd, project: Path, named: str | None) -> sources.Source:
    """Find a release's source as `sources.find` does, and read all of it now, as `user`. Raises GaplessError."""
    spool = tempfile.TemporaryFile()  # noqa: SIM115 -- it has no name, and goes with the Source
    with reading_as(user, lambda stream: _send(stream, project, named)) as stream:
        head = msgspec.json.decode(stream.readline(LONGEST), type=Head)
        if not head.error:
            shutil.copyfileobj(stream, spool, 1 << 20)
    if head.error:
        raise GaplessError(*(head.error.get(part, "") for part in PARTS), status=2)

    def install(target: Path) -> None:
        spool.seek(0)
        with tarfile.open(fileobj=spool) as archive:
            unpack(archive, target, head.what)
        check_links(target, head.what)
        copying.open_directories(target)

    return sources.Source(head.what, head.short, head.revision, install)


def reader_of(user: pwd.struct_passwd) -> Callable[[Path], bytes]:
    """Make what reads a small file as `user`. It raises GaplessError for a larger one, and what the disk refuses."""

    def read(path: Path) -> bytes:
        with reading_as(user, lambda stream: _send_file(stream, path)) as stream:
            said, content = stream.read(1), stream.read(LONGEST + 1)
        if said != b"+":
            raise GaplessError("read", str(path), content.decode("utf-8", "replace") or "it cannot be read")
        if len(content) > LONGEST:
            raise GaplessError("read", str(path), f"it has more than {LONGEST >> 20} MiB")
        return content

    return read


def refuse_other_rights(new: Config, current: Config | None) -> None:
    """Refuse a release that is called otherwise, or may do other things on the host, than the current release.

    Raises GaplessError.
    """
    if current is None:
        raise GaplessError("deploy", new.name, "there is no release yet that says what the app may do", HINT)
    if new.name != current.name:
        raise GaplessError("deploy", new.name, f"the release is not of {current.name}", HINT)
    before, after = ({name: getattr(one.sandbox, name) for name in RIGHTS} for one in (current, new))
    if before != after:
        changed = [name for name in RIGHTS if before[name] != after[name]]
        cause = "; ".join(f"[sandbox] {name} changes from {before[name]!r} to {after[name]!r}" for name in changed)
        raise GaplessError("deploy", new.name, cause, HINT)


def _send(stream: BinaryIO, project: Path, named: str | None) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix="gapless-read-") as folder:
            source = sources.find(project, named)
            source.install(Path(folder))
            _say(stream, Head(source.what, source.short, source.revision))
            with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                archive.add(folder, arcname=".")
    except GaplessError as error:
        _say(stream, Head(error={part: getattr(error, part) for part in PARTS}))
    except OSError as error:
        _say(stream, Head(error={"operation": "read", "object": str(project), "cause": refusal("", "", error).cause}))


def _say(stream: BinaryIO, head: Head) -> None:
    stream.write(msgspec.json.encode(head) + b"\n")


def _send_file(stream: BinaryIO, path: Path) -> None:
    try:
        with path.open("rb") as file:
            stream.write(b"+" + file.read(LONGEST + 1))
    except OSError as error:
        stream.write(b"-" + (error.strerror or "").encode())
