"""A host that an older gapless installed: `gapless up` takes it over under traffic, and what was there goes on."""

from __future__ import annotations

from tests.host.host import Host
from tests.host.life import Shop, visits

# What an older gapless left: no copies, no build account, no caches, and releases that the app's user can write. There
# is no older version to be had by name, so this takes away what `up` and the deploys have made since.
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
