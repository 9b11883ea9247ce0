"""The database of an app on a real host: copied by Litestream, restored, verified; the site never needs that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.host.databases import DATABASE, UNIT, Database, database_up, install_litestream
from tests.host.host import Host


@pytest.fixture(scope="module")
def server(host: Host) -> Host:
    """A host with Litestream."""
    install_litestream(host)
    return host


@pytest.fixture
def shop(server: Host) -> Iterator[Database]:
    """The app, up, with a replica in a directory."""
    with database_up(server) as one:
        yield one


def test_it_is_copied_and_comes_back_on_a_new_host(shop: Database) -> None:
    """`up` restores what is missing before the first release starts, and again changes nothing."""
    assert "Already up: nothing to change." in shop("up").stdout
    for number in range(3):
        assert shop.add(f"order-{number}") == number + 1
    shop.copied()
    shop.lose()
    assert shop.host.run("test", "-e", DATABASE, check=False).returncode == 1
    assert f"Restore {DATABASE}" in shop("up").stdout
    assert shop.count() == 3
    assert shop.show(UNIT, "ActiveState") == "active"
    assert shop.host.run("stat", "--format=%U", DATABASE).stdout == "shop\n"
