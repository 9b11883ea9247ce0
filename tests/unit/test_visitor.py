"""What a check carries as a visitor's request would, and what is advised about an answer that is not 2xx."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from gapless.errors import GaplessError
from gapless.serve import check
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


def proven(path: str, visitor: Visitor, needs: bytes, status: int, location: str) -> str:
    """Check an app that answers 200 to a request with `needs` in its head, and otherwise so; what is advised then."""

    def serve(end: socket.socket) -> None:
        with end, end.makefile("rwb") as stream:
            head = b"".join(iter(stream.readline, b"\r\n"))
            code = 200 if needs in head else status
            stream.write(b"HTTP/1.1 %d x\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (code, location.encode()))

    async def reach() -> socket.socket:
        ours, theirs = socket.socketpair()
        threading.Thread(target=serve, args=(theirs,)).start()
        return ours

    try:
        asyncio.run(check.prove(reach, path, visitor, "", time.monotonic() + 0.01))
    except GaplessError as error:
        return error.hint
    return ""


EVERYBODY = "set `[check] path` to a page that everybody may see"
WWW, HTTPS, OPEN = Visitor("www.example"), Visitor(scheme="https"), b"GET /open "


@pytest.mark.parametrize(
    ("status", "location", "advised", "needs", "path", "visitor"),
    [
        (301, "https://localhost/", "the app insists on https", b"X-Forwarded-Proto: https", "/", HTTPS),
        (426, "", "the app insists on https", b"X-Forwarded-Proto: https", "/", HTTPS),
        (302, "http://www.example/", 'set `[check] host = "www.example"`', b"Host: www.example\r", "/", WWW),
        (400, "", "if the app checks the host name, set `[check] host`", b"Host: www.example\r", "/", WWW),
        (302, "/open", "the page that answers itself, /open perhaps", OPEN, "/open", Visitor()),
        (302, "/login", f"the page needs a login: {EVERYBODY}", OPEN, "/open", Visitor()),
        (401, "", f"the page needs a login: {EVERYBODY}", OPEN, "/open", Visitor()),
        (403, "", f"if the page needs a login, {EVERYBODY}; ", OPEN, "/open", Visitor()),
        (403, "", "; if the app checks the host name, set `[check] host`", b"Host: www.example\r", "/", WWW),
        (404, "", "there is no such page: set `[check] path` to one that there is", OPEN, "/open", Visitor()),
        (405, "", "the page takes no plain GET: set `[check] path` to one that does", OPEN, "/open", Visitor()),
        (406, "", "say what it wants in `[check] headers`", b"accept: a/b", "/", Visitor(headers={"accept": "a/b"})),
        (418, "", EVERYBODY, OPEN, "/open", Visitor()),
    ],
)
def test_what_is_advised_is_answered(
    status: int, location: str, advised: str, needs: bytes, path: str, visitor: Visitor
) -> None:
    """Invariant 8: with the setting that the advice names the check of the same app holds."""
    assert advised in proven("/", Visitor(), needs, status, location)
    assert proven(path, visitor, needs, status, location) == ""
