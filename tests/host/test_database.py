"""The database of an app on a real host: copied by Litestream, restored, verified; the site never needs that."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator

import pytest

from tests.host.databases import DATABASE, DIRECTORY, FILE, UNIT, Database, bring, database_up, install_litestream, rows
from tests.host.host import Host
from tests.support import wait_until


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


MIGRATE = """
[release]
migrate = ["python3", "migrate.py"]
"""
SCRIPT = """
import os, sqlite3
database = sqlite3.connect(os.path.join(os.environ["GAPLESS_SHARED"], "shop.db"), timeout=10)
with database:
    database.execute("DELETE FROM orders")
"""


def migrating(shop: Database, settings: str = FILE) -> None:
    """The next release has a migration, and a bad one: it deletes every order."""
    shop.release(settings, config=MIGRATE)
    shop.host.write(f"{shop.project}/migrate.py", SCRIPT)


def test_the_verbs(shop: Database) -> None:
    """What is acknowledged is in the replica after `sync`, and `verify` finds it there."""
    shop.add("first")
    said = shop.answer("sync")
    assert len(said["txid"]) == 16
    status = shop.answer("status")
    assert (status["state"], status["problem"]) == ("active", None)
    assert status["replica_txid"] >= said["txid"]
    assert (status["replica"], status["path"]) == (f"file://{DIRECTORY}", DATABASE)
    found = {one["name"]: one["state"] for one in json.loads(shop("doctor", "--json", check=False).stdout)["findings"]}
    assert (found["Litestream"], found["database"], found["replica"]) == ("ok", "ok", "ok")
    shop.host.run("cp", "-r", shop.project, "/opt/nobodys")
    told = shop.host.gapless("doctor", cwd="/opt/nobodys", user="nobody", check=False).stdout
    assert "only root can ask it" in told
    shop.host.run("rm", "-r", "/opt/nobodys")
    shop.add("second")
    verified = shop.answer("verify")
    assert (verified["tables"], verified["txid"] > said["txid"]) == (1, True)
    assert "The replica is whole" in shop("database", "verify").stdout
    assert left_beside(shop) == ""


def left_beside(shop: Database) -> str:
    """What commands left beside the database."""
    return shop.host.run("find", "/srv/shop/shared", "-name", ".shop.db.*").stdout


def test_a_bad_migration_is_gone_back_from(shop: Database) -> None:
    """The replica holds the point right before it; what came after is kept beside the database, for hand work."""
    shop.add("first")
    shop.add("second")
    migrating(shop)
    bad = shop.deploy()
    assert shop.count() == 0
    assert "back up" in shop.phases(bad)
    assert "roll back first" in shop.fails("database", "restore", "--before", bad)
    shop("rollback")
    shop.add("third")
    shop.settled()
    live = shop.live()["pid"]
    done = shop.answer("restore", "--before", bad)
    assert shop.count() == 2
    assert shop.live()["pid"] != live
    assert done["kept"].startswith(f"{DATABASE}.before-")
    assert rows(shop, done["kept"]) == ["third"]
    assert rows(shop, DATABASE) == ["first", "second"]
    shop.add("fourth")
    shop.copied()
    assert shop.answer("verify")["tables"] == 1
    assert left_beside(shop) == ""
    shop.lose()
    shop.release()
    shop("up")
    assert rows(shop, DATABASE) == ["first", "second", "fourth"]


def test_without_a_backup_nothing_is_migrated(shop: Database) -> None:
    """Litestream down never stops the site; a migration is refused, unless `--without-backup` is passed."""
    shop.add("first")
    shop.litestream("stop")
    assert shop.count() == 1
    migrating(shop)
    told = shop.fails("deploy")
    assert f"{UNIT} is inactive" in told
    assert "`gapless deploy --without-backup`" in told
    assert shop.count() == 1
    status = shop.answer("status", check=False)
    assert (status["state"], status["problem"]["cause"]) == ("inactive", f"{UNIT} is inactive")
    shop("deploy", "--without-backup")
    assert shop.count() == 0
    shop.release()
    shop.deploy()


def test_another_replica(shop: Database) -> None:
    """It gets all, from the first row on; the old one stays as it was."""
    shop.add("first")
    shop.copied()
    other = f"{DIRECTORY}-new"
    shop.release(f'replica = "file://{other}"')
    shop("up")
    shop.add("second")
    shop.copied()
    assert shop.answer("verify")["tables"] == 1
    shop.lose()
    shop("up")
    assert rows(shop, DATABASE) == ["first", "second"]
    assert shop.host.run("test", "-d", DIRECTORY, check=False).returncode == 0


def test_moving_to_another_host(shop: Database, fresh_host: Host) -> None:
    """Fenced by `down`, the old host copies what came last; the new one goes on with all that was acknowledged."""
    acknowledged: list[str] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            name = f"order-{len(acknowledged)}"
            with contextlib.suppress(OSError, http.client.HTTPException):
                if shop.host.get(8000, f"/add/{name}")[0] == 200:
                    acknowledged.append(name)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: len(acknowledged) > 20)
        shop("database", "sync")
        shop("down", "--yes")
    finally:
        over.set()
        writer.join()
    install_litestream(fresh_host)
    bring(shop.host, fresh_host)
    new = Database(fresh_host, "shop", 8000)
    new.release()
    new("up")
    assert rows(new, DATABASE) == rows(shop, DATABASE)
    assert {*acknowledged} <= {*rows(new, DATABASE)}
    new.add("one-more")
    assert new.answer("verify")["tables"] == 1
