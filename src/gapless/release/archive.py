"""Unpack a tar archive so that nothing lands, points or reaches outside the release.

Python 3.11.2 (Debian 12) has no tarfile.data_filter, so each member is checked and written here.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import shutil
import tarfile
import zlib
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from gapless.errors import GaplessError
from gapless.release import copying
from gapless.release.budget import DEEPEST, Budget
from gapless.release.copying import mode
from gapless.release.xz import GreedyError, XzFile

if TYPE_CHECKING:
    from typing import Self

HELD = b"H"  # the type of a member that is a hash alone: see artifact.py
MAX_HEADER = 1 << 20  # bytes; the longest path has 4 KiB
AGAIN = "make the archive again"
DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError, RecursionError)


class _TooLongError(Exception):
    pass


class _Headers:
    """The file of an archive while the headers of one member are read from it: MAX_HEADER bytes at most."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.tell = file.tell
        self.seek = file.seek
        self.left = MAX_HEADER

    def read(self, size: int) -> bytes:
        self.left -= size
        if self.left < 0:
            raise _TooLongError
        return self.file.read(size)


class _Archive(tarfile.TarFile):
    """An archive of which little is in memory: tarfile takes headers of any size whole, and keeps every one."""

    @classmethod
    def xzopen(cls, name: Any, mode: Any = "r", fileobj: Any = None, preset: Any = None, **more: Any) -> Self:  # noqa: ARG003
        """Open a file that xz has compressed; TarFile.open asks for it."""
        file = XzFile(Path(name))
        try:
            archive = cls.taropen(name, "r", io.BufferedReader(file), **more)
        except GreedyError:
            file.close()
            raise
        except (lzma.LZMAError, EOFError) as error:
            file.close()
            raise tarfile.ReadError("not an lzma file") from error
        archive._extfileobj = False  # type: ignore[attr-defined]  # close() closes ours, too
        return archive

    def next(self) -> tarfile.TarInfo | None:
        whole = self.fileobj
        self.fileobj = _Headers(whole)  # type: ignore[arg-type, assignment]  # it can what next() needs
        try:
            member = super().next()
        except _TooLongError:
            raise self._too_long() from None
        finally:
            self.fileobj = whole
        if sum(len(name) + len(value) for name, value in self.pax_headers.items()) > MAX_HEADER:
            raise self._too_long()  # these are global ones, which stay for all members that follow
        self.members.clear()  # type: ignore[attr-defined]
        return member

    def _too_long(self) -> GaplessError:
        cause = f"the headers of one of its members hold more than {MAX_HEADER >> 20} MiB"
        return GaplessError("unpack", str(self.name), cause, "make the archive without it")


def open_archive(path: Path) -> tarfile.TarFile:
    """`path` as a tar archive, however it is compressed. Raises GaplessError (status 2)."""
    try:
        return _Archive.open(path, "r:*")
    except (OSError, *DAMAGE) as error:
        hint = "it must be a tar archive: plain, .gz, .xz or .bz2"
        raise GaplessError("unpack", str(path), str(error), hint, status=2) from error


def open_tar(file: IO[bytes], name: str) -> tarfile.TarFile:
    """`file` as a tar archive that is not compressed. Raises GaplessError (status 2)."""
    file.seek(0)
    try:
        return _Archive(name, "r", fileobj=file)
    except (OSError, *DAMAGE) as error:
        raise GaplessError("unpack", name, str(error), AGAIN, status=2) from error


def unpack(archive: tarfile.TarFile, directory: Path, name: str, held: Path | None = None) -> None:
    """Write the members into the empty `directory`; raises GaplessError when one is unsafe or damaged.

    Existing links are never written through. The directories are for whoever unpacks alone: see `sources.find`. What
    only has its hash in there comes from `held`, the tree of a release.
    """
    budget = Budget(lambda cause: GaplessError("unpack", name, cause, "make the archive without what is too much"))
    known = {directory}
    try:
        for member in archive:
            if member.size < 0:
                raise _unsafe(name, member, "has less than no bytes")
            if "\0" in member.name + member.linkname:
                raise _unsafe(name, member, "has a zero byte in its name")
            if member.type == HELD:
                _write_held(member, directory, name, budget, known, held)
            else:
                _write(archive, member, directory, name, budget, known)
    except DAMAGE as error:
        raise GaplessError("unpack", name, f"it is damaged: {error}", AGAIN) from error
    except OSError as error:
        if error.errno is None:  # gzip and bz2 say so of damaged data; the system's own errors have a number
            raise GaplessError("unpack", name, f"it is damaged: {error}", AGAIN) from error
        raise


def _unsafe(name: str, member: tarfile.TarInfo, what: str) -> GaplessError:
    return GaplessError("unpack", name, f"its member `{member.name}` {what}", "make the archive without it")


def _write(
    archive: tarfile.TarFile, member: tarfile.TarInfo, directory: Path, name: str, budget: Budget, known: set[Path]
) -> None:
    """Write a member below `directory`; `known` are the directories that were made there."""
    path = _inside(member, member.name, directory, name, known)
    if path == directory:
        budget.enter("")  # it may come half a million times
        return
    budget.enter(str(path.relative_to(directory)), member.size)
    _make_parents(path, known)
    if member.isdir():
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise _unsafe(name, member, "replaces a file or a link by a directory")
        path.mkdir(exist_ok=True)
        return
    if path.is_dir() and not path.is_symlink():
        raise _unsafe(name, member, "replaces a directory")
    if member.islnk():
        source = _inside(member, member.linkname, directory, name, known)
        if source.is_symlink() or not source.is_file():
            raise _unsafe(name, member, f"is a hard link to `{member.linkname}`, which is no file in it")
        if source != path:
            _write_again(source, path, budget)
        return
    path.unlink(missing_ok=True)  # a later member of the same name wins
    if member.issym():
        path.symlink_to(member.linkname)  # judged by `check_links`, once everything it leads to is there
    elif member.isfile():
        _write_file(archive, member, path)
    else:
        raise _unsafe(name, member, "is a device or a pipe")


def _write_held(
    member: tarfile.TarInfo, directory: Path, name: str, budget: Budget, known: set[Path], held: Path | None
) -> None:
    """Copy the file of that name from the release `held`, if it is the one that is meant."""
    path = _inside(member, member.name, directory, name, known)
    if path == directory or os.path.lexists(path):
        raise _unsafe(name, member, "is there twice")
    relative = str(path.relative_to(directory))
    budget.enter(relative)
    _make_parents(path, known)
    hint = "pack without --have, or with what `gapless releases --files --json` says there now"
    other = GaplessError("unpack", name, f"the current release has not the `{relative}` that is to stay as it is", hint)
    if held is None:
        raise other
    try:
        with copying.opened(held, relative) as file, path.open("x+b") as copy:
            budget.copy(file, copy)
            os.fchmod(copy.fileno(), mode(member.mode))
            copy.seek(0)
            same = hashlib.file_digest(copy, "sha256").hexdigest() == member.linkname
    except (FileNotFoundError, NotADirectoryError):
        raise other from None
    if not same:
        raise other


def _write_again(source: Path, path: Path, budget: Budget) -> None:
    """Copy what is there already; from other sources two names of a file are two files, too."""
    path.unlink(missing_ok=True)
    with source.open("rb") as file, path.open("xb") as copy:
        budget.copy(file, copy)
        os.fchmod(copy.fileno(), mode(source.stat().st_mode))


def _write_file(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    with path.open("xb") as file:  # exclusive: it cannot be a link that leads elsewhere
        archive_file = archive.extractfile(member)
        if archive_file is not None:
            shutil.copyfileobj(archive_file, file)
        os.fchmod(file.fileno(), mode(member.mode))


def _inside(member: tarfile.TarInfo, written: str, directory: Path, name: str, known: set[Path]) -> Path:
    """The path of `written` below `directory`; refused where it leaves, or goes through a link or a file.

    What is `known` needs no second look: no member takes the place of a directory.
    """
    parts = PurePosixPath(written).parts
    if written.startswith("/") or ".." in parts:
        raise _unsafe(name, member, f"leaves the release (`{written}`)")
    if len(parts) > DEEPEST:
        raise _unsafe(name, member, f"is below more than {DEEPEST} directories")
    path = directory.joinpath(*parts)
    for parent in _unknown(path, known):
        if parent.is_symlink():
            raise _unsafe(name, member, f"goes through the link `{parent.relative_to(directory)}`")
        if parent.exists() and not parent.is_dir():
            raise _unsafe(name, member, f"goes through the file `{parent.relative_to(directory)}`")
    return path


def _make_parents(path: Path, known: set[Path]) -> None:
    for parent in _unknown(path, known):
        parent.mkdir(exist_ok=True)
        known.add(parent)


def _unknown(path: Path, known: set[Path]) -> list[Path]:
    """The directories above `path` that are not `known`, the outermost first."""
    return list(takewhile(lambda one: one not in known, path.parents if path not in known else ()))[::-1]


def strip(directory: Path) -> None:
    """When all there is in `directory` is one directory, put that one's content in its place."""
    entries = list(directory.iterdir())
    if len(entries) != 1 or entries[0].is_symlink() or not entries[0].is_dir():
        return
    only = entries[0].rename(directory / ".gapless-stripped")  # its content may have its own name again
    for entry in list(only.iterdir()):
        entry.rename(directory / entry.name)
    only.rmdir()


def check_links(directory: Path, name: str, hint: str = "make the archive without it") -> None:
    """Raise GaplessError when a symbolic link in `directory` leads out of it, over however many links."""
    inside = directory.resolve()
    for folder, folders, files in os.walk(directory):
        for path in (Path(folder, entry) for entry in (*folders, *files)):
            if not path.is_symlink():
                continue
            target = path.readlink()
            if target.is_absolute() or not Path(os.path.realpath(path)).is_relative_to(inside):
                what = f"its link `{path.relative_to(directory)}` leads out of the release (to `{target}`)"
                raise GaplessError("unpack", name, what, hint)
