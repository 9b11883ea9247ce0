"""Caddy's own file, of which only the lines are ours that a site needs."""

from __future__ import annotations

import pytest

from gapless.provision.caddyfile import ADMIN, leaves_admin_open, with_admin

LINE = f"\tadmin {ADMIN}\n"


@pytest.mark.parametrize(
    ("main", "wanted"),
    [
        ("", f"{{\n{LINE}}}\n\n"),
        ("# mine\n:80 {\n}\n", f"{{\n{LINE}}}\n\n# mine\n:80 {{\n}}\n"),
        ("(snippet) {\n}\n", f"{{\n{LINE}}}\n\n(snippet) {{\n}}\n"),
        ("# mine\n\n{\n\temail a@b.c\n}\n", f"# mine\n\n{{\n{LINE}\temail a@b.c\n}}\n"),
    ],
)
def test_where_caddy_takes_orders_is_said_once(main: str, wanted: str) -> None:
    """Invariant 7: in the global options, there or new, and all else stays; a second time nothing."""
    assert leaves_admin_open(main)
    closed = with_admin(main)
    assert closed.removeprefix("# Orders come from root and Caddy's own user, not from every local user.\n") == wanted
    assert not leaves_admin_open(closed)


@pytest.mark.parametrize("main", ["{\n\tadmin off\n}\n", "{\n  admin localhost:2020\n}\n", "import /etc/caddy/first\n"])
def test_what_somebody_has_decided_stays(main: str) -> None:
    """An administrator's own word, and a file whose options may be elsewhere, are left to doctor."""
    assert not leaves_admin_open(main)
