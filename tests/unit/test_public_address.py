"""Where a proof asks, when nobody says it: where visitors do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gapless.cli.watch import public
from gapless.config import parse
from gapless.errors import GaplessError

UNIX = 'listen = "unix:/run/shop.sock"\n'


def asked(text: str) -> tuple[str, Mapping[str, str]]:
    return public(parse(f'name = "shop"\ncommand = "x"\n{text}', Path("gapless.toml")))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (UNIX + 'proxy = { domains = ["*.example.com", "shop.example.com"] }', "https://shop.example.com"),
        (UNIX + 'proxy = { domains = ["shop.example.com"], tls = "internal" }', "https://shop.example.com"),
        (UNIX + 'proxy = { domains = ["shop.example.com"], tls = "off" }', "http://shop.example.com"),
    ],
)
def test_behind_a_unix_socket_it_is_the_site(text: str, url: str) -> None:
    """Only Caddy can connect to the socket, so the proof goes the visitors' way, with their own Host."""
    assert asked(text) == (url, {})


def test_on_a_port_it_is_the_port() -> None:
    """Past the proxy, with the name that the check asks with."""
    assert asked('check = { host = "shop.example.com" }') == ("http://127.0.0.1:8000", {"Host": "shop.example.com"})


def test_of_several_addresses_it_is_the_first_port() -> None:
    """A Unix socket that comes first is no reason to ask for another address."""
    assert asked('listen = ["unix:/run/shop.sock", "127.0.0.1:81", "127.0.0.1:82"]')[0] == "http://127.0.0.1:81"


def test_a_unix_socket_without_a_site_is_refused() -> None:
    """Invariant 8: the error names what to give."""
    with pytest.raises(GaplessError, match=r"Unix socket"):
        asked(UNIX + 'proxy = { domains = ["*.example.com"] }')
