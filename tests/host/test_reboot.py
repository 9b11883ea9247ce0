"""Power cuts in every phase of a deploy."""

from __future__ import annotations

import random
import time

from tests.host.host import Host
from tests.host.life import Shop
from tests.support import wait_until

MARK = "touch $GAPLESS_SHARED/there && sleep 600"
BOOTING = "import pathlib; pathlib.Path(os.environ['GAPLESS_SHARED'], 'there').touch(); time.sleep(600)"


def cut(host: Host) -> None:
    host.kill_power()
    host.boot()


def holds(shop: Shop, legal: set[str]) -> str:
    """The release that serves after a cut: a legal one, and all that is told of it is true."""
    release = shop.get().split()[0]
    assert release in legal
    found = shop.status()
    assert found["current"] == release
    assert found["locked_by"] is None
    assert [(one["release"], one["role"], one["ready"]) for one in found["instances"]] == [(release, "live", True)]
    return release


def goes_on(shop: Shop) -> None:
    """The next deploy works, and leaves nothing of the one that was cut."""
    shop.write(text="after the cut")
    release = shop.deploy()
    assert shop.get().endswith("after the cut")
    shop.settled()
    assert shop.current() == release
    assert shop.host.run("readlink", f"/srv/{shop.name}/current").stdout == f"releases/{release}\n"
    assert shop.host.run("sh", "-c", f"ls -A /srv/{shop.name}/releases | grep '^[.]' || :").stdout == ""


def test_a_power_cut_before_the_commit(fresh_host: Host) -> None:
    """Invariant 5: in a build, a migration, a boot: the old release serves afterwards, the deploy was interrupted."""
    shop = Shop(fresh_host, "shop", 8000)
    shop.write()
    shop("up")
    old = shop.current()
    building = MARK.replace("$GAPLESS_SHARED", "$HOME")
    for app, config in (
        ("", f'build = {{ run = "{building}" }}'),
        ("", f'[release]\nmigrate = "{MARK}"'),
        (BOOTING, ""),
    ):
        shop.write(app=app, config=config)
        deploy = shop.popen("deploy")
        there = f"/srv/shop/{'cache' if 'build' in config else 'shared'}/there"
        shop.phase(deploy, config or "booting", there)
        fresh_host.run("rm", there)
        cut(fresh_host)
        deploy.communicate(timeout=30)
        assert holds(shop, {old}) == old
        assert shop.status()["last"]["outcome"] == "interrupted"
    goes_on(shop)


def test_a_power_cut_while_the_old_release_drains(fresh_host: Host) -> None:
    """Invariant 5: after the commit it is the new one that serves, and the old one is gone."""
    shop = Shop(fresh_host, "shop", 8000)
    shop.write(linger="60s")
    shop("up")
    with fresh_host.connect(shop.port) as idle:  # keeps the old one draining
        idle.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert idle.recv(65536)
        release = shop.deploy()
        assert sorted(one["role"] for one in shop.status()["instances"]) == ["live", "retiring"]
        cut(fresh_host)
    assert holds(shop, {release}) == release
    assert shop.status()["last"]["outcome"] == "succeeded"
    goes_on(shop)


def test_power_cuts_around_the_commit(fresh_host: Host) -> None:
    """Invariant 5: from the candidate's readiness on, at random moments, and right after the rename itself."""
    shop = Shop(fresh_host, "shop", 8000)
    shop.write(boot=0.2)
    shop("up")
    chance = random.Random(5)  # noqa: S311 -- of moments
    for moment in (chance.uniform(0, 0.2), chance.uniform(0.2, 0.5), None):
        old = shop.current()
        if moment is None:
            shop.killed_at_the_commit()
            cut(fresh_host)
        else:
            deploy = shop.popen("deploy")
            wait_until(lambda: len(shop.status()["instances"]) > 1, 30)  # the candidate, or the old one that drains
            time.sleep(moment)  # it is what varies, nothing is waited for
            cut(fresh_host)
            deploy.communicate(timeout=30)
        last = shop.status()["last"]
        now = holds(shop, {old, last["to"]})
        assert last["outcome"] in ({"succeeded", "interrupted"} if now == last["to"] else {"interrupted"})
    assert now == last["to"]  # the rename was the commit
    goes_on(shop)


def test_a_power_cut_before_the_first_commit(fresh_host: Host) -> None:
    """Invariant 5: nothing serves after the boot, nothing starts by itself, and the next up finishes."""
    shop = Shop(fresh_host, "shop", 8000)
    shop.write(app=BOOTING)
    up = shop.popen("up")
    shop.phase(up, "booting", "/srv/shop/shared/there")
    cut(fresh_host)
    up.communicate(timeout=30)
    assert shop.inode() == 0
    assert (shop.status()["current"], shop.status()["instances"]) == (None, [])
    shop.write()
    shop("up")
    release = shop.current()
    cut(fresh_host)
    holds(shop, {release})
