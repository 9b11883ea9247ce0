"""Files that belong to a release without being in it: variables and secrets, read where another user may write."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import BinaryIO

import pytest

from gapless.errors import GaplessError
from gapless.release import budget, operators
from gapless.release.sources import reader_in


def test_a_file_is_read_by_its_name_and_by_a_link_that_stays_inside(tmp_path: Path) -> None:
    """Links in the project are the user's own business."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real/key").write_bytes(b"\0x")
    (tmp_path / "keys").symlink_to("real")
    assert reader_in(tmp_path)(tmp_path / "real/key") == reader_in(tmp_path)(tmp_path / "keys/key") == b"\0x"


@pytest.mark.parametrize("kind", ["out", "pipe", "directory"])
def test_what_was_put_there_since_is_not_read(tmp_path: Path, kind: str) -> None:
    """Invariant 9: it was judged before; what it is now decides, and a pipe is not waited for."""
    project, secret = tmp_path / "project", tmp_path / "secret"
    project.mkdir()
    secret.write_text("root's")
    if kind == "out":
        (project / ".env").symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(project / ".env")
    else:
        (project / ".env").mkdir()
    with pytest.raises(GaplessError, match=r"\.env"):
        reader_in(project)(project / ".env")


def test_a_link_that_is_swapped_while_it_is_judged_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 9: between the judgement and the opening somebody puts a link there; it leads nowhere for us."""
    project, secret = tmp_path / "project", tmp_path / "secret"
    project.mkdir()
    secret.write_text("root's")
    (project / ".env").write_text("A=1\n")
    resolve = Path.resolve

    def swap(path: Path, strict: bool = False) -> Path:
        real = resolve(path, strict)
        if path.name == ".env" and not path.is_symlink():
            path.unlink()
            path.symlink_to(secret)
        return real

    read = reader_in(project)
    monkeypatch.setattr(Path, "resolve", swap)
    with pytest.raises(GaplessError, match="not, or no longer, the regular file"):
        read(project / ".env")


def test_a_file_without_an_end(tmp_path: Path) -> None:
    """Root's memory is not for a stranger's sparse file of variables."""
    with (tmp_path / ".env").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(GaplessError, match="it has more than 1 MiB"):
        reader_in(tmp_path)(tmp_path / ".env")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads for somebody else")
def test_what_is_read_for_an_operator_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariants 8 and 9: who reads is the operator's process, and may send without an end; root's disk has one."""
    monkeypatch.setattr(budget, "MAX_BYTES", 1 << 20)

    def send(stream: BinaryIO, *_what: object) -> None:
        stream.write(b'{"what": "x"}\n')
        for _ in range(1 << 20):
            stream.write(bytes(1 << 16))

    monkeypatch.setattr(operators, "_send_tree", send)
    with pytest.raises(GaplessError, match="cannot read x: it holds more than"):
        operators.find_as(pwd.getpwnam("nobody"), tmp_path, None)
