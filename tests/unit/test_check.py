"""The candidate's check: which answer is waited for, and what is advised where it does not become another."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Iterable

import pytest

from gapless.errors import GaplessError
from gapless.linux import answers
from gapless.serve import check
from gapless.visitor import Visitor

LONG, SETTLED = 2.0, 0.3  # seconds


def prove(monkeypatch: pytest.MonkeyPatch, given: Iterable[int], location: str = "/login") -> float:
    """Check an app that gives these answers, one after the other; the seconds that it took."""
    left = iter(given)

    def get(_: Visitor, end: socket.socket, *__: object) -> tuple[int, dict[str, str], bytes]:
        end.close()
        return next(left), {"gapless-release": "R1", "location": location}, b"why not"

    async def reach() -> socket.socket:
        return socket.socket()

    monkeypatch.setattr(Visitor, "get_over", get)
    monkeypatch.setattr(answers, "SETTLED", SETTLED)
    began = time.monotonic()
    asyncio.run(check.prove(reach, "/health", Visitor("shop.example"), "R1", began + LONG))
    return time.monotonic() - began


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_cannot_change_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Invariant 8: one and the same answer ends the check long before its time-out, and is the cause."""
    began = time.monotonic()
    with pytest.raises(GaplessError, match=str(status)) as refused:
        prove(monkeypatch, itertools.repeat(status))
    assert SETTLED < time.monotonic() - began < LONG / 2
    assert refused.value.details == ("why not",)


@pytest.mark.parametrize("status", [429, 503])
def test_what_says_that_it_will_pass_is_waited_for(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """HTTP's own words for "later" are believed, until the time-out."""
    waited = itertools.chain(itertools.repeat(status, 4), [200])
    assert prove(monkeypatch, waited) > SETTLED
    began = time.monotonic()
    with pytest.raises(GaplessError, match=str(status)) as refused:
        prove(monkeypatch, itertools.repeat(status))
    assert time.monotonic() - began > LONG / 2
    assert "[check] timeout" in refused.value.hint


def test_what_changes_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app whose answers change is on its way, whatever they are."""
    assert prove(monkeypatch, [500, 404, 500, 404, 200]) > SETTLED


@pytest.mark.parametrize(
    ("status", "advised"),
    [
        (302, "the page needs a login"),
        (400, "if the app checks the host name, set `[check] host` to the one that it expects (sent: shop.example)"),
        (404, "there is no such page"),
        (500, "its log says more; it may write to $GAPLESS_SHARED alone: under systemd [sandbox] says to what else"),
    ],
)
def test_the_advice_is_that_for_the_status(monkeypatch: pytest.MonkeyPatch, status: int, advised: str) -> None:
    """Invariant 8: in a release, whose files nobody may write, an error of the app is most often about that."""
    with pytest.raises(GaplessError) as refused:
        prove(monkeypatch, itertools.repeat(status))
    assert advised in refused.value.hint
