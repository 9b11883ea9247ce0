"""gapless itself is upgraded, and downgraded, under traffic: what was there goes on, and `gapless up` renews it."""

from __future__ import annotations

from tests.host.advice import doctor, wrong
from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing, visits
from tests.host.traffic import traffic
from tests.host.versions import Versioned, install, wheels

# What the first ones left: no copies, no build account, no caches, and releases that the app's user can write. This
# takes away what `up` and the deploys have made since.
OLDER = """
rm -r /srv/shop/cache /srv/shop/env/*.toml
userdel shop-build
chown -R shop:shop /srv/shop/releases/*
"""


def test_a_host_from_before_is_taken_over(fresh_host: Host) -> None:
    """Invariants 1, 7 and 9: nothing is lost, older releases go on as they are, and only new ones are sealed."""
    host, shop = fresh_host, Shop(fresh_host, "shop", 8000)
    shop.write(text="first")
    shop("up")
    first = shop.current()
    shop.write(text="second")
    second = shop.deploy()
    shop.settled()
    host.run("sh", "-ec", OLDER)
    with visits(shop) as seen:
        # 1. Root decides nothing from what the app's user can write, and says what to do about it.
        said = shop.fails("rollback", "--yes")
        assert f"cannot configure {second}" in said or f"cannot configure {first}" in said
        assert "`sudo gapless up` makes one of what is in it now" in said
        said = shop.fails("deploy")
        assert "cannot find the user shop-build" in said
        assert "`sudo gapless up` makes the users of an app" in said
        assert "Make the system user shop-build." in shop("doctor", check=False).stdout
        # 2. `up` takes the host over; a second one changes nothing.
        changed = shop("up").stdout
        assert "Make the system user shop-build." in changed
        assert f"Copy /srv/shop/releases/{first}/gapless.toml to where only root can write." in changed
        assert "Already up: nothing to change." in shop("up").stdout
        assert shop("doctor", check=False).stdout.count("✗") == 0
        # 3. Back to a release from before, and on to a new one, which is sealed.
        shop("rollback", "--yes")
        assert shop.current() == first
        shop.write(text="third")
        third = shop.deploy()
    assert seen.lost == []
    assert seen.releases == [second, first, third]
    owners = host.run(
        "stat", "-c", "%U", *(f"/srv/shop/releases/{one}/app.py" for one in (first, second, third))
    ).stdout
    assert owners.split() == ["shop", "shop", "root"]


def test_an_upgrade_and_a_downgrade_lose_nothing(fresh_host: Host) -> None:
    """Invariants 1, 6 and 7: up, deploys and rollbacks of each version go on from what the other left."""
    older, this = wheels()
    new, old = install(fresh_host, "gapless-new", this), install(fresh_host, "gapless-old", older)
    with leaving_nothing(Versioned(fresh_host, "shop", 8000, command=old)) as shop:
        shop.write(text="first")
        shop("up")
        with visits(shop) as seen, traffic(fresh_host, shop.port) as also:
            first = shop.current()
            also.flows()
            second = shop.deploy()
            # 1. The new version says who made what serves; what dies before `up` is started by it, as it was.
            shop.command = new
            found = doctor(shop)["upgrade"]
            assert found["state"] == "warning"
            assert f"an older gapless made shop@{second}.service, and this is gapless" in found["what"]
            # 2. `up` renews it, says so, and does so once.
            before = shop.live()
            assert f"Start {second} again, beside itself: an older gapless made its units." in shop("up", "-n").stdout
            assert shop.live()["pid"] == before["pid"]
            assert f"Start {second} again" in shop("up").stdout
            after = shop.live()
            assert (after["release"], after["unit"]) == (second, f"shop@{second}.2.service")
            assert "Already up: nothing to change." in shop("up").stdout
            assert wrong(shop) == {}
            # 3. Deploy, and back to a release of the older version.
            shop.write(text="third")
            third = shop.deploy()
            shop("rollback", "--yes")
            assert shop.current() == second
            # 4. The older version goes on from there.
            shop.command = old
            shop("up")
            shop.write(text="fourth")
            fourth = shop.deploy()
            shop("rollback", "--yes", third)
            shop("rollback", "--yes", fourth)
            shop("prune")
            assert doctor(shop)["live unit"]["state"] == "ok"
            # 5. And the new one again.
            shop.command = new
            assert f"Start {fourth} again" in shop("up").stdout
            also.flows()
        assert seen.losses == []
        assert also.lost == []
        assert seen.releases == [first, second, third, fourth]
