"""A deploy for an operator, who may deploy one app as root and decide nothing else on the host.

What the operator names is read as the operator, or root would hand out files that only root may read. What the app may
do on the host stays as it is.
"""

from __future__ import annotations

import pwd
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from gapless.config.settings import Config, Database, Limits, Notify, Proxy, Sandbox
from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.reading import reading_as
from gapless.release import copying, sources
from gapless.release.archive import check_links, unpack
from gapless.release.budget import Budget

TABLES: dict[str, type[msgspec.Struct]] = {
    "sandbox": Sandbox,
    "limits": Limits,
    "proxy": Proxy,
    "database": Database,
    "notify": Notify,
}
RIGHTS = {table: kind.__struct_fields__ for table, kind in TABLES.items()} | {"build": ("memory",)}
HINT = "whoever may run `sudo gapless deploy` without --app decides that"
PARTS = ("operation", "object", "cause", "hint")
LONGEST = 1 << 20  # bytes of a line


class Head(msgspec.Struct):
    """The first line that a reader sends: what a Source knows, or the parts of a GaplessError."""

    what: str = ""
    short: str = ""
    revision: str = ""
    error: dict[str, str] = {}


def find_as(user: pwd.struct_passwd, project: Path, named: str | None) -> sources.Source:
    """Find a release's source as `sources.find` does, and read all of it now, as `user`. Raises GaplessError."""
    spool = tempfile.TemporaryFile()  # noqa: SIM115 -- it has no name, and goes with the Source
    try:
        with reading_as(user, lambda out: _send(out, project, lambda: _send_tree(out, project, named))) as stream:
            head = _heard(stream, status=2)
            Budget(lambda cause: GaplessError("read", head.what, cause, "deploy less")).copy(stream, spool)
    except BaseException:
        spool.close()
        raise

    def install(target: Path) -> None:
        spool.seek(0)
        with tarfile.open(fileobj=spool) as archive:
            unpack(archive, target, head.what)
        check_links(target, head.what)
        copying.open_directories(target)

    return sources.Source(head.what, head.short, head.revision, install)


def reading_as_operator(user: pwd.struct_passwd, own: Callable[[Path], bytes]) -> Callable[[Path], bytes]:
    """Make what reads a small file by `own`, as `user`. It raises GaplessError."""

    def read(path: Path) -> bytes:
        with reading_as(user, lambda stream: _send(stream, path, lambda: _send_file(stream, own, path))) as stream:
            _heard(stream, status=1)
            return stream.read(sources.LONGEST)

    return read


def refuse_other_rights(new: Config, current: Config | None) -> None:
    """Refuse a release that is called otherwise, or may do other things on the host, than the current release.

    Raises GaplessError.
    """
    if current is None:
        raise GaplessError("deploy", new.name, "there is no release yet that says what the app may do", HINT)
    if new.name != current.name:
        raise GaplessError("deploy", new.name, f"the release is not of {current.name}", HINT)
    changed = []
    for table, names in RIGHTS.items():
        for name in names:
            before, after = (getattr(getattr(one, table), name) for one in (current, new))
            changed += [f"[{table}] {name} changes from {before!r} to {after!r}"] if before != after else []
    if changed:
        raise GaplessError("deploy", new.name, "; ".join(changed), HINT)


def _heard(stream: BinaryIO, status: int) -> Head:
    """What a reader says first. Raises GaplessError with that exit status when it is an error."""
    line = stream.readline(LONGEST)
    if not line.endswith(b"\n"):
        raise GaplessError("read", "for the operator", "the process that reads ended before it had said anything")
    head = msgspec.json.decode(line, type=Head)
    if head.error:
        raise GaplessError(*(head.error.get(part, "") for part in PARTS), status=status)
    return head


def _send(stream: BinaryIO, what: Path, send: Callable[[], None]) -> None:
    """Have `send` say all, or say why it cannot read `what`."""
    try:
        send()
    except GaplessError as error:
        _say(stream, Head(error={part: getattr(error, part) for part in PARTS}))
    except OSError as error:
        _say(stream, Head(error={"operation": "read", "object": str(what), "cause": refusal("", "", error).cause}))


def _send_tree(stream: BinaryIO, project: Path, named: str | None) -> None:
    with tempfile.TemporaryDirectory(prefix="gapless-read-") as folder:
        source = sources.find(project, named)
        source.install(Path(folder))
        _say(stream, Head(source.what, source.short, source.revision))
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            archive.add(folder, arcname=".")


def _send_file(stream: BinaryIO, own: Callable[[Path], bytes], path: Path) -> None:
    content = own(path)
    _say(stream, Head())
    stream.write(content)


def _say(stream: BinaryIO, head: Head) -> None:
    stream.write(msgspec.json.encode(head) + b"\n")
