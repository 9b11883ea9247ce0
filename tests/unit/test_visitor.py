"""What a check carries as a visitor's request would, and what is advised about an answer that is not 2xx."""

from __future__ import annotations

import pytest

from gapless.visitor import Visitor


def test_over_https_a_request_carries_what_the_proxy_adds() -> None:
    """TLS ends before the app, which hears of it in headers alone; the given ones go over all others."""
    assert Visitor("shop.example").sent == {"Host": "shop.example"}
    sent = Visitor("shop.example", "https", {"x-forwarded-for": "192.0.2.1"}).sent
    assert sent == {
        "Host": "shop.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "shop.example",
        "x-forwarded-for": "192.0.2.1",
    }


@pytest.mark.parametrize(
    ("status", "location", "advised"),
    [
        (301, "https://localhost/", 'set `[check] scheme = "https"`'),
        (308, "https://shop.example/", 'set `[check] scheme = "https"`'),
        (302, "http://www.example/", 'set `[check] host = "www.example"`'),
        (302, "/accounts/login/?next=/", "the page needs a login: set `[check] path`"),
        (302, "/de/", "set `[check] path` to the page that answers itself, /de/ perhaps"),
        (302, "http://[", "set `[check] path` to the page that answers itself"),
        (303, "", "set `[check] path` to the page that answers itself"),
        (400, "", "set `[check] host` to the one that it expects (sent: localhost)"),
        (401, "", "the page needs a login: set `[check] path`"),
        (403, "", "if the page needs a login, set `[check] path`"),
        (404, "", "there is no such page: set `[check] path`"),
        (405, "", "the page takes no plain GET: set `[check] path`"),
        (426, "", "the app insists on https"),
        (418, "", "set `[check] path`"),
        (500, "", "the app itself failed"),
    ],
)
def test_the_advice_fits_the_status(status: int, location: str, advised: str) -> None:
    """Invariant 8: what the answer says decides what to try, not what is wrong most often."""
    assert advised in Visitor().advice(status, location)


def test_asked_by_https_it_is_not_advised_again() -> None:
    """An app that redirects all the same expects another name."""
    assert "host = " in Visitor(scheme="https").advice(301, "https://shop.example/")
