"""What is advised about a database, done in the state that advises it: then it is copied, or comes back."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from tests.host.advice import doctor, follow, hint
from tests.host.databases import DATABASE, DIRECTORY, FILE, UNIT, Database, database_up
from tests.host.host import Host
from tests.host.life import leaving_nothing
from tests.host.test_database import server
from tests.support import wait_until

__all__ = ["server"]


@pytest.fixture(scope="module")
def up(server: Host) -> Iterator[Database]:
    """The app with its database, up."""
    with database_up(server) as one:
        yield one


@pytest.fixture
def shop(up: Database) -> Database:
    """The app with its database; each test leaves it whole."""
    up.settled()
    return up


def second(advice: str) -> str:
    """The second command of an advice: the first says why."""
    return advice.split("`")[3]


def test_litestream_that_was_stopped(shop: Database) -> None:
    """Started again as it is advised, it copies what was written meanwhile; doctor's advice enables it, too."""
    shop.litestream("stop")
    shop.add("first")
    said = hint(shop.fails("database", "sync"))
    follow(shop, said)
    follow(shop, second(said))
    shop.copied()
    shop.host.run("systemctl", "disable", "--now", UNIT)
    follow(shop, second(doctor(shop)["Litestream"]["hint"]))
    assert doctor(shop)["Litestream"]["state"] == "ok"
    shop.host.run("systemctl", "stop", UNIT)
    problem = shop.answer("status", check=False)["problem"]
    follow(shop, second(problem["hint"]))
    shop.copied()


def test_a_database_that_is_not_there(shop: Database) -> None:
    """The advice brings it back from the replica."""
    count = shop.add("lost")
    shop("database", "sync")
    shop.host.run("sh", "-c", f"systemctl stop {UNIT}; rm {DATABASE}*; systemctl start {UNIT}")
    said = hint(shop.fails("database", "sync"))
    assert said == doctor(shop)["database"]["hint"] == "the app makes it, or `gapless database restore`"
    follow(shop, said)
    assert shop.count() == count


def test_a_point_that_nobody_knows(shop: Database) -> None:
    """The list that the advice names is there, and a rollback comes before a restore."""
    said = hint(shop.fails("database", "restore", "--before", "20200101T000000Z-0000000"))
    assert '"deploys"' in follow(shop, said)
    shop.release(config='[release]\nmigrate = "true"\n')
    current = shop.deploy()
    shop.settled()
    follow(shop, hint(shop.fails("database", "restore", "--before", current)))
    shop.settled()
    shop("database", "restore", "--before", current)


def test_a_process_that_has_it_open(shop: Database) -> None:
    """`ps` shows it; once it has ended the restore is repeated."""
    shop.add("held")
    shop.copied()
    held = shop.popen(
        "exec", "python3", "-c", f"import time; f = open({DATABASE!r}); print(1, flush=True); time.sleep(99)"
    )
    wait_until(lambda: shop.host.run("pgrep", "-f", "time.sleep.99", "-u", "shop", check=False).stdout)
    said = hint(shop.fails("database", "restore"))
    assert "python3" in follow(shop, said)
    shop.host.run("kill", shlex.split(said.split("`")[1])[-1])
    held.communicate(timeout=30)
    shop("database", "restore")


def test_a_replica_that_the_app_may_not_write(shop: Database) -> None:
    """Given back as it is advised, it takes what was written meanwhile."""
    shop.add("refused")
    shop.copied()
    shop.litestream("stop")
    shop.host.run("chown", "-R", "root:", DIRECTORY)
    shop.host.run("chmod", "-R", "go-rwx", DIRECTORY)
    said = hint(shop.fails("database", "restore"))
    assert said == "give it the directory: `chown -R`, then repeat this"
    shop.host.run("sh", "-c", f"{said.split('`')[1]} shop: {DIRECTORY}")
    shop.litestream("start")
    shop("database", "restore")


def test_settings_that_nobody_installed(shop: Database) -> None:
    """`gapless up` does that; `gapless config --example` shows what belongs into [database]."""
    shop.release(f'replica = "file://{DIRECTORY}-new"')
    follow(shop, hint(shop.fails("database", "status")).replace("sudo ", ""))
    shop("database", "status")
    shop.write()
    assert "[database]" in follow(shop, hint(shop.fails("database", "status")))
    shop.release()
    shop("up")
    shop.host.run("rm", "-rf", f"{DIRECTORY}-new")


# The app is down from here on.


@pytest.fixture(scope="module")
def bare(up: Database) -> Host:
    """The host, with no app on it any more."""
    up.lose()
    up.forget_replica()
    return up.host


def test_a_release_from_before_the_database(bare: Host) -> None:
    """A deploy makes one that waits while its database is replaced."""
    with leaving_nothing(Database(bare, "shop", 8000)) as shop:
        shop.write()
        shop("up")
        shop.release()
        shop("up")
        shop.host.run("install", "-o", "shop", "/dev/null", DATABASE)
        said = hint(shop.fails("database", "restore"))
        assert said == "`gapless deploy`, then repeat this"
        follow(shop, said)
        shop.settled()
        shop.add("first")
        shop.copied()
        shop("database", "restore")
    shop.forget_replica()


PLACES = {
    "file:///tmp/replica": ('for example: replica = "file:///var/backups/shop"', ""),
    "file:///mnt/nowhere/replica": ("is its disk mounted? else `mkdir` it", "mkdir /mnt/nowhere"),
    "file:///opt/open/replica": ("use a directory that only root can rename", "chmod 755 /opt/open"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_for_a_replica(bare: Host, place: str) -> None:
    """The example is one, and so is the directory once it is there, or root's alone."""
    advised, mend = PLACES[place]
    bare.run("sh", "-c", "mkdir -p /var/backups /opt/open && chmod 777 /opt/open")
    with leaving_nothing(Database(bare, "shop", 8000)) as shop:
        shop.release(f'replica = "{place}"')
        said = hint(shop.fails("up"))
        assert said == advised
        if mend:
            bare.run("sh", "-c", mend)
        else:
            shop.release(said.removeprefix("for example: "))
        shop("up")
        shop.add("first")
        shop.copied()
    bare.run("rm", "-rf", "/mnt/nowhere", "/opt/open", "/var/backups/shop")


def test_credentials_as_they_are_advised(bare: Host) -> None:
    """The file that is created, or copied, where the advice says, without what Litestream cannot have, is read."""
    shop = Database(bare, "shop", 8000)
    path = f"{shop.project}/litestream.env"
    shop.release(f'{FILE}\ncredentials = "litestream.env"')
    assert hint(shop.fails("up", "-n")).startswith("create it (it is relative to the project's directory)")
    bare.write("/opt/litestream.env", "AWS_CA_BUNDLE=/etc/ssl/ours.pem\n", 0o600)
    bare.run("ln", "-s", "/opt/litestream.env", path)
    assert hint(shop.fails("up", "-n")) == "copy it into the project's directory (git need not see it)"
    bare.run("sh", "-c", f"rm {path} && cp /opt/litestream.env {path}")
    assert hint(shop.fails("up", "-n")).endswith("name the certificates by SSL_CERT_FILE")
    shop.credentials("SSL_CERT_FILE=/etc/ssl/ours.pem\n")
    assert "Write /srv/shop/litestream.env." in shop("up", "-n").stdout
    assert shop.left() == ""
    bare.run("rm", path)
