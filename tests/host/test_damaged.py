"""What gapless keeps is damaged, lost or cannot be written: it says so, goes on, and what it advises mends it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.host.advice import doctor, follow, hint, wrong
from tests.host.host import Host
from tests.host.life import Shop, visits

LEDGER = "/srv/shop/ledger.jsonl"
LEDGERS = {
    "removed": f"rm {LEDGER}",
    "empty": f": > {LEDGER}",
    "rubbish": f"head -c 4096 /dev/urandom > {LEDGER}",
    "its beginning lost": f"tail -n 6 {LEDGER} > /tmp/last; cat /tmp/last > {LEDGER}",
    "a link to nowhere": f"ln -sf /srv/shop/nowhere {LEDGER}",
}


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app with four releases, on a small disk of its own; each test leaves it whole."""
    host.run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", "/srv")
    one = Shop(host, "shop", 8000)
    one.write()
    host.run("sh", "-c", f"head -c 1M /dev/urandom > {one.project}/ballast")
    one("up")
    for _ in range(3):
        one.deploy()
    one.settled()
    yield one
    one.remove()
    assert one.left() == ""


def releases(shop: Shop) -> list[str]:
    """By their names, the newest first."""
    return [str(one["release"]) for one in json.loads(shop("releases", "--json").stdout)["releases"]]


@pytest.mark.parametrize("damage", LEDGERS)
def test_a_lost_ledger_is_seen_and_written_again(shop: Shop, damage: str) -> None:
    """Invariant 11: what `releases` calls good a rollback finds; doctor says what is lost, and its advice mends it."""
    last = shop.deploy()
    shop.settled()
    second = releases(shop)[1]
    with visits(shop) as seen:
        shop.host.run("sh", "-c", LEDGERS[damage])
        found = doctor(shop)["ledger"]
        assert found["state"] == "warning", found
        assert f"Make {second} the current release" in shop("rollback", "-n").stdout
        follow(shop, found["hint"])
        assert wrong(shop) == {}
        shop("rollback")
        shop.settled()
    assert (seen.losses, seen.releases) == ([], [last, second])


def test_a_directory_removed_by_hand(shop: Shop) -> None:
    """Invariant 11: the current one goes on and doctor's advice replaces it; an older one is not gone back to."""
    shop.deploy()
    before = shop.deploy()
    shop.settled()
    with visits(shop) as seen:
        shop.host.run("rm", "-r", f"/srv/shop/releases/{before}")
        assert shop.current() == before
        assert [one["role"] for one in shop.status()["instances"]] == ["live"]
        assert "Already pruned" in shop("prune").stdout
        found = doctor(shop)["current release"]
        assert (found["state"], found["hint"]) == ("failed", "gapless deploy")
        follow(shop, found["hint"])
        shop.settled()
        assert wrong(shop) == {}
        second = releases(shop)[1]
        shop.host.run("rm", "-r", f"/srv/shop/releases/{second}")
        assert second not in shop("rollback", "-n").stdout
        assert "there is no such release" in shop.fails("rollback", second)
    assert seen.losses == []
    shop("prune")
    assert before not in shop.left() + shop.host.run("ls", "/srv/shop/env", "/srv/shop/log").stdout


def test_settings_of_a_release_are_damaged(shop: Shop) -> None:
    """Invariant 11: those of the current one keep nobody from replacing it, those of another only from going there."""
    first, before = shop.deploy(), shop.deploy()
    shop.settled()
    with visits(shop) as seen:
        shop.host.write(f"/srv/shop/env/{before}.toml", "name = [", 0o600)
        found = doctor(shop)["current release"]
        assert "its settings are damaged" in found["what"]
        shop("up")
        said = shop.fails("deploy", "--watch", "1s")
        assert "its settings are damaged" in said  # it could not be turned back to
        follow(shop, found["hint"])
        shop.settled()
        assert wrong(shop) == {}
        said = shop.fails("rollback")
        assert (
            hint(said)
            == "`gapless deploy` makes a release with settings of its own; `gapless releases` lists the others"
        )
        shop("rollback", first)
        shop.settled()
    assert seen.losses == []
    shop.deploy()
    shop.settled()


def test_a_disk_that_is_full(shop: Shop) -> None:
    """Invariant 11: what makes room goes on without any; every other command says that there is none, and what does."""
    for _ in range(3):
        before = shop.deploy()
    shop.settled()
    with visits(shop) as seen:
        shop.host.run("sh", "-c", "cat /dev/zero > /srv/ballast", check=False)
        for verb in ("deploy", "rollback"):
            said = shop.fails(verb)
            assert "No space left on device" in said
            assert hint(said).startswith("free some space there (`gapless prune --keep 2`")
        assert shop.current() == before
        found = doctor(shop)["disk"]
        assert found["hint"].startswith("`gapless prune --keep 2` removes old releases")
        shop("prune", "--keep", "2")
        assert len(releases(shop)) == 2
        shop("rollback")
        shop.host.run("rm", "/srv/ballast")
        shop.deploy()
        shop.settled()
        assert wrong(shop) == {}
    assert seen.losses == []


FILL = "cat /dev/zero > {}/ballast || true"  # and goes on, as if nothing was
FILLED = {
    "install": ("", "head -c 100M /dev/zero > ballast"),
    "build": (f"[build]\nrun = '{FILL.format('$HOME')}'\n", ""),
    "migration": (f"[release]\nmigrate = '{FILL.format('$GAPLESS_SHARED')}'\n", ""),
}


@pytest.mark.parametrize("where", FILLED)
def test_a_disk_that_fills_during_a_deploy(shop: Shop, where: str) -> None:
    """Invariants 3 and 11: there was room when it began; what serves goes on, what is said is so, then all works."""
    before = shop.deploy()
    shop.settled()
    config, fill = FILLED[where]
    with visits(shop) as seen:
        shop.write(config=config)
        shop.host.run("sh", "-c", f"cd {shop.project} && mv ballast ../ballast; {fill}")
        done = shop("deploy", check=False)
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        if done.returncode or where == "install":
            assert "No space left on device" in said
            assert shop.current() == before
        assert (shop.live()["release"], shop.get().split()[0]) == (shop.current(), shop.current())
        shop.host.run("sh", "-c", f"rm -f /srv/shop/*/ballast; cd {shop.project} && mv ../ballast ballast")
        shop("prune")
        shop.write()
        shop.deploy()
        shop.settled()
        assert wrong(shop) == {}
    assert seen.losses == []


def test_a_disk_that_became_read_only(shop: Shop) -> None:
    """Invariant 11: doctor says so, and its advice mends it; nobody notices."""
    with visits(shop) as seen:
        shop.host.run("mount", "-o", "remount,ro", "/srv")
        found = doctor(shop)["disk"]
        assert found["state"] == "failed"
        shop.host.run("sh", "-c", f"{found['hint'].split('`')[3]} /srv")
        assert wrong(shop) == {}
        shop.deploy()
        shop.settled()
    assert seen.losses == []


@pytest.mark.parametrize("verb", ["deploy", "rollback", "up"])
def test_a_read_only_etc(shop: Shop, verb: str) -> None:
    """Invariants 3 and 8: nothing that serves is touched, and the cause is that, not a full disk."""
    before = shop.live()
    if verb == "up":
        shop.host.run("sed", "-i", "s/Backlog=4096/Backlog=100/", "/etc/systemd/system/shop.socket")
    shop.host.run("sh", "-c", "mount --bind /etc /etc && mount -o remount,bind,ro /etc")
    try:
        with visits(shop) as seen:
            said = shop.fails(verb)
    finally:
        shop.host.run("umount", "/etc")
    assert "Read-only file system" in said
    assert hint(said) == "the file system is mounted read-only: `dmesg` says why; remount it read-write"
    assert (seen.losses, shop.live()["pid"]) == ([], before["pid"])
    shop(verb)
    shop.settled()
    assert wrong(shop) == {}
