"""What a build writes is told while it writes."""

from __future__ import annotations

from pathlib import Path

from gapless.release import following
from gapless.release.following import followed
from tests.support import wait_until


def test_lines_are_told_as_they_come(tmp_path: Path) -> None:
    """Not what was there before; a line once it is complete, and what is left at the end."""
    log, told = tmp_path / "log", list[str]()
    log.write_text("before\n")
    with followed(log, told.append), log.open("a") as file:
        file.write("one\ntw")
        file.flush()
        wait_until(lambda: told == ["one"], 10)
        file.write("o\n\xff rest")
        file.flush()
        wait_until(lambda: told == ["one", "two"], 10)
    assert told == ["one", "two", "\xff rest"]


def test_who_says_too_much_is_not_listened_to_for_longer(tmp_path: Path) -> None:
    """Of a flood its end is told, and that something is left out; a log that is emptied begins anew."""
    log, told = tmp_path / "log", list[str]()
    with followed(log, told.append):
        log.write_bytes(b"x" * 10 * following.MOST + b"\nlast\n")
        wait_until(lambda: "last" in told, 10)
        log.write_text("new\n")
        wait_until(lambda: "new" in told, 10)
    assert told[0].startswith("[...]x")
    assert sum(map(len, told)) < 2 * following.MOST
