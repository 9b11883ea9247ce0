"""An artifact: what a release is made of in one stream, the same bytes whenever and by whomever it is packed.

It is a gzipped tar archive, whose global header holds the Head as its comment. A member of the type HELD stands for a
file that the host's current release has: its hash is in the place of a link's target.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec

from gapless.errors import GaplessError
from gapless.release import content
from gapless.release.archive import HELD, check_links, unpack

LEVEL = 6  # of gzip
FORMAT = 1
PACK_AGAIN = "`gapless pack` it again"
SAME_GAPLESS = "install one version of gapless on both machines"


class _Format(msgspec.Struct):
    gapless: int


class Head(msgspec.Struct, forbid_unknown_fields=True):
    """What an artifact says of itself: its `id` is the digest of all that is in it (see content.py)."""

    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    short: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{7}\Z")]
    revision: Annotated[str, msgspec.Meta(max_length=1000)]
    gapless: int = FORMAT  # the format


def write(tree: Path, head: Head, have: Mapping[str, str], out: BinaryIO) -> None:
    """Write the artifact of `tree`; of files whose hash is the one in `have` only that. Raises OSError."""
    comment = {"comment": said(head)}
    with (
        gzip.GzipFile("", "wb", LEVEL, out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, pax_headers=comment) as archive,
    ):
        for name in content.names(tree):
            _add(archive, tree / name, name, have.get(name))


def _add(archive: tarfile.TarFile, path: Path, name: str, held: str | None) -> None:
    member = tarfile.TarInfo(name)  # nobody's, of 1970
    status = path.lstat()
    member.mode = status.st_mode & 0o755
    if path.is_symlink():
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        archive.addfile(member)
    elif path.is_dir():
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
    elif held and held == content.file_hash(path):
        member.type, member.linkname = HELD, held
        archive.addfile(member)
    else:
        member.size = status.st_size
        with path.open("rb") as file:
            archive.addfile(member, file)


def said(head: Head) -> str:
    """Write what an artifact says of itself."""
    return msgspec.json.encode(head).decode()


def head(archive: tarfile.TarFile) -> Head | None:
    """Read what the archive, just opened, says of itself; None where it is no artifact. Raises GaplessError."""
    comment = archive.pax_headers.get("comment", "")
    try:
        if (made := msgspec.json.decode(comment, type=_Format).gapless) != FORMAT:
            cause = f"another gapless packed it (format {made}, and here it is {FORMAT})"
            raise GaplessError("read", f"the artifact {os.fsdecode(archive.name or '')}", cause, SAME_GAPLESS)
        return msgspec.json.decode(comment, type=Head)
    except (msgspec.MsgspecError, UnicodeError):  # a revision that `git archive` names, for example
        return None


def install(archive: tarfile.TarFile, head: Head, target: Path, held: Path | None = None) -> None:
    """Fill the empty `target`, which is the caller's alone; what is in the release `held` already comes from there.

    Raises GaplessError where something is not as it was packed, too, or OSError.
    """
    name = os.fsdecode(archive.name or "")
    unpack(archive, target, name, held)
    check_links(target, name)
    if (found := content.digest(target)) != head.id:
        cause = f"it is not what was packed: its content is {found[:12]}, and its id {head.id[:12]}"
        raise GaplessError("unpack", name, cause, PACK_AGAIN)
