"""Programs that another user can stop, or have say anything."""

from __future__ import annotations

import errno
import time

import pytest

from gapless.linux.asking import ask


@pytest.mark.parametrize(
    ("script", "code"),
    [("sleep 60", errno.ETIMEDOUT), ("exec >&- 2>&-; sleep 60", errno.ETIMEDOUT), ("yes", errno.EFBIG)],
    ids=["silent", "closed", "endless"],
)
def test_an_answer_without_an_end_is_not_waited_for(script: str, code: int) -> None:
    """Invariant 8: neither time nor memory is lost to who does not answer, or does not stop."""
    began = time.monotonic()
    with pytest.raises(OSError, match=r"it took longer than 0.5 s|it said more than 1 MiB") as caught:
        ask(["sh", "-c", script], within=0.5, largest=1 << 20)
    assert caught.value.errno == code
    assert time.monotonic() - began < 10


def test_what_was_said_comes_with_the_status() -> None:
    """Both streams, whatever bytes they have, and how it ended."""
    done = ask(["sh", "-c", r"printf 'a\377'; echo b >&2; exit 3"], within=20, largest=1 << 20)
    assert (done.stdout, done.stderr, done.returncode) == ("a\ufffd", "b\n", 3)
