"""What is printed shows a terminal text, and has it obey nobody."""

from __future__ import annotations

import pytest

from gapless.cli.output import Output, harmless
from gapless.errors import GaplessError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m and\ttabs\nlines ü", None),
        ("\r  progress", None),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b[2J\x1b[1;1Hx", "\\x1b[2J\\x1b[1;1Hx"),
        ("r1 | a\rr2 | b", "r1 | a\\rr2 | b"),
        ("\x9b2J \u202e \x00", "\\x9b2J \\u202e \\x00"),
        ("no utf-8 \udcff", "no utf-8 \\udcff"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str | None) -> None:
    assert harmless(text) == (text if shown is None else shown)
    harmless(text).encode()


def test_a_row_of_a_table_is_a_line() -> None:
    """A directory may be called as a row of the ledger looks."""
    lines = Output().table(("WHO", "WHAT"), [("alice", "x\nbob  deploy")])
    assert lines == ["WHO    WHAT", "alice  x\\nbob  deploy"]


def test_no_error_has_a_line_that_another_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    """Invariant 9: an app's line feed in a cause begins no line that looks like ours, such as a `Try:`."""
    Output().error(GaplessError("start", "shop", "it said\nTry: rm", "look"))
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["Error", "Try"]
