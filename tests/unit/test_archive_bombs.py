"""Archives that are small on disk and large in memory, unpacked by a process that may not have much."""

from __future__ import annotations

import gzip
import io
import lzma
import resource
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.release_kit import make_project

MEMORY = 300 << 20
SIZE = 600 << 20
MIB = 1 << 20
UNPACK = """
import sys, pathlib
from gapless.errors import GaplessError
from gapless.release import sources
project, archive, target = map(pathlib.Path, sys.argv[1:])
try:
    sources.find(project, str(archive)).install(target)
except GaplessError as error:
    sys.exit(f"{error} ({error.hint})")
"""


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def pax(**records: str) -> bytes:
    info = tarfile.TarInfo("x")
    info.pax_headers = {name.replace("_", "."): value for name, value in records.items()}
    return info.tobuf(tarfile.PAX_FORMAT)


def long_header(kind: bytes) -> Iterator[bytes]:
    yield header(kind, SIZE)
    yield from [b"\1" * MIB] * (SIZE // MIB)
    yield header(tarfile.REGTYPE, 0)


def many_global_headers() -> Iterator[bytes]:
    for number in range(SIZE // MIB):
        name = b"comment%03d" % number
        record = b"%d %s=" % (MIB - 1024, name)
        yield header(tarfile.XGLTYPE, MIB - 1024)
        yield record + b"\1" * (MIB - 1024 - len(record) - 1) + b"\n"
        yield header(tarfile.REGTYPE, 0, f"f{number}")


def many_members_with_headers() -> Iterator[bytes]:
    for number in range(MEMORY // MIB):
        record = b"%d comment=" % (MIB - 1024)
        yield header(tarfile.XHDTYPE, MIB - 1024)
        yield record + b"\1" * (MIB - 1024 - len(record) - 1) + b"\n"
        yield header(tarfile.REGTYPE, 0, f"f{number}")


def sparse_map() -> Iterator[bytes]:
    yield pax(GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_name="x", GNU_sparse_realsize="1")
    yield b"%d\n" % SIZE + b"1\n" * 251
    yield from [b"1\n" * (MIB // 2)] * (SIZE // MIB)


def sparse_blocks() -> Iterator[bytes]:
    first = bytearray(header(tarfile.GNUTYPE_SPARSE, 0))
    first[482] = 1  # "there are more"
    first[148:156] = b"%06o\0 " % (sum(first[:148]) + 8 * 32 + sum(first[156:]))
    yield bytes(first)
    block = (b"%011o\0" % 1) * 42 + b"\1" * 8
    yield from [block * (MIB // 512)] * (SIZE // MIB)


def chain() -> Iterator[bytes]:
    """Headers of headers of headers."""
    for _ in range(900):
        yield header(tarfile.GNUTYPE_LONGNAME, 1)
        yield b"x".ljust(512, b"\0")
    yield header(tarfile.REGTYPE, 0)


BOMBS: dict[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "pax": (lambda: long_header(tarfile.XHDTYPE), "more than 1 MiB"),
    "global pax": (lambda: long_header(tarfile.XGLTYPE), "more than 1 MiB"),
    "Solaris pax": (lambda: long_header(tarfile.SOLARIS_XHDTYPE), "more than 1 MiB"),
    "GNU name": (lambda: long_header(tarfile.GNUTYPE_LONGNAME), "more than 1 MiB"),
    "GNU link": (lambda: long_header(tarfile.GNUTYPE_LONGLINK), "more than 1 MiB"),
    "many global pax": (many_global_headers, "more than 1 MiB"),
    "sparse map": (sparse_map, "more than 1 MiB"),
    "sparse blocks": (sparse_blocks, "more than 1 MiB"),
    "chain": (chain, "recursion"),
}


def start() -> bytes:
    """An archive that has only begun."""
    return header(tarfile.REGTYPE, 0, "gapless.toml")


def write(path: Path, *parts: bytes) -> None:
    """Each part is packed once: a part that is repeated costs nothing, and gzip reads them as one."""
    packed: dict[bytes, bytes] = {}
    with path.open("wb") as file:
        for part in (*parts, bytes(1024)):
            if part not in packed:
                packed[part] = gzip.compress(part, 1)
            file.write(packed[part])


def unpack(project: Path, archive: Path, target: Path) -> str:
    """What a deployer with little memory says of it; nothing when it is content."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    target.mkdir()
    argv = [sys.executable, "-c", UNPACK, str(project), str(archive), str(target)]
    done = subprocess.run(argv, preexec_fn=bound, capture_output=True, text=True, check=False)
    return done.stderr


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_header_that_fills_the_memory(tmp_path: Path, bomb: str, first: bool) -> None:
    """Invariant 8: the archive is named and refused in little memory; without that member it is a release."""
    project = make_project(tmp_path / "shop")
    path = tmp_path / "in.tgz"
    make, cause = BOMBS[bomb]
    write(path, *([] if first else [start()]), *make())
    said = unpack(project, path, tmp_path / "out")
    assert said.startswith(f"cannot unpack {path}: ")
    assert cause in said
    assert "Traceback" not in said
    write(path, start())
    assert unpack(project, path, tmp_path / "again") == ""


def test_a_sparse_file_as_an_archive(tmp_path: Path) -> None:
    """A plain archive that takes no room on the disk takes none in memory, either."""
    path = tmp_path / "in.tar"
    with path.open("wb") as file:
        file.write(start() + header(tarfile.XHDTYPE, SIZE))
        file.truncate(SIZE)
    assert "more than 1 MiB" in unpack(make_project(tmp_path / "shop"), path, tmp_path / "out")


def test_many_members_with_headers_of_an_allowed_size(tmp_path: Path) -> None:
    """Of members that were unpacked nothing stays in memory."""
    path = tmp_path / "in.tgz"
    write(path, start(), *many_members_with_headers())
    assert unpack(make_project(tmp_path / "shop"), path, tmp_path / "out") == ""
    assert len(list((tmp_path / "out").iterdir())) == MEMORY // MIB + 1


def test_long_names_are_kept(tmp_path: Path) -> None:
    """What tar and Python write for long names is read, in both formats."""
    project = make_project(tmp_path / "shop")
    name = "/".join(["n" * 200] * 5)
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path = tmp_path / f"{form}.tgz"
        with tarfile.open(path, "w:gz", format=form) as archive:
            for one in ("gapless.toml", name):
                archive.addfile(tarfile.TarInfo(one), io.BytesIO())
        assert unpack(project, path, tmp_path / f"out{form}") == ""
        assert (tmp_path / f"out{form}" / name).is_file()


def greedy(content: bytes) -> bytes:
    """As xz packs it, but its reader is told to remember 4 GiB of it."""
    packed = bytearray(lzma.compress(content, check=lzma.CHECK_NONE, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}]))
    end = 12 + (packed[12] + 1) * 4  # of the block's header
    where = packed.index(0x21, 12)  # the filter's number, before the size of its properties
    packed[where + 2] = 40
    packed[end - 4 : end] = zlib.crc32(bytes(packed[12 : end - 4])).to_bytes(4, "little")
    return bytes(packed)


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_an_xz_file_that_wants_the_memory(tmp_path: Path, first: bool) -> None:
    """Invariants 8 and 9: a file of some KiB has root remember what it unpacks, up to 4 GiB."""
    project = make_project(tmp_path / "shop")
    path = tmp_path / "in.tar.xz"
    more = header(tarfile.REGTYPE, MIB, "zeros") + bytes(MIB + 1024)
    path.write_bytes(greedy(start() + more) if first else lzma.compress(start()) + greedy(more))
    said = unpack(project, path, tmp_path / "out")
    assert "to unpack it takes more than 128 MiB of memory" in said
    path.write_bytes(lzma.compress(start()) + bytes(8) + lzma.compress(more, preset=9))
    assert unpack(project, path, tmp_path / "again") == ""
    assert (tmp_path / "again" / "zeros").stat().st_size == MIB
