"""The log of a command that writes more than a disk holds, or hands it to others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gapless.linux import log_file
from tests.support import wait_until


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log that may hold 64 KiB, of which a page is kept."""
    monkeypatch.setattr(log_file, "LARGEST", 64 << 10)
    monkeypatch.setattr(log_file, "KEPT", log_file.PAGE)
    return tmp_path / "r1.log"


def blocks(log: Path) -> int:
    return log.stat().st_blocks * log_file.BLOCK


def test_a_log_that_grows_takes_no_more_room_and_keeps_its_end(log: Path) -> None:
    """What was said first makes room, what was said last is there, and a size that is a lie changes nothing."""
    with log.open("ab") as file, log_file.logged(log):
        os.ftruncate(file.fileno(), 1 << 40)
        os.ftruncate(file.fileno(), 0)
        for _ in range(3):
            file.write(b"x" * (1 << 20) + b"\nlast words\n")
            file.flush()
            wait_until(lambda: blocks(log) <= 64 << 10)
    assert log.stat().st_size <= 64 << 10
    assert log.read_bytes().endswith(b"x\nlast words\n")
    assert blocks(log) <= 64 << 10


def test_who_has_a_log_open_has_no_part_in_it_once_it_is_detached(log: Path) -> None:
    """A small log stays as it is, word for word; afterwards it is another file."""
    with log.open("ab") as file:
        with log_file.logged(log):
            file.write(b"built\n")
            file.flush()
        file.write(b"evil\n")
        file.flush()
        os.ftruncate(file.fileno(), 0)
    assert log.read_bytes() == b"built\n"
    assert [one.name for one in log.parent.iterdir()] == ["r1.log"]


def test_a_log_that_is_nothing_but_a_hole(log: Path) -> None:
    """A command may make its log as large as it likes without a byte in it: there is nothing to copy."""
    log.touch()
    os.truncate(log, 1 << 40)
    log_file.detach(log)
    assert log.read_bytes() == b""


def test_a_command_that_says_nothing_has_no_log(log: Path) -> None:
    """It is no error that there is no file."""
    with log_file.logged(log):
        pass
    assert not log.exists()
