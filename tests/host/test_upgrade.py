"""gapless itself is upgraded, and downgraded, under traffic: what was there goes on, and `gapless up` renews it."""

from __future__ import annotations

from pathlib import Path

from gapless.version import VERSION
from tests import older
from tests.host import debs
from tests.host.advice import doctor, wrong
from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing, visits
from tests.host.traffic import traffic
from tests.host.versions import RENEW, Linked, versions
from tests.support import GAPLESS, wait_until

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


def test_an_upgrade_and_a_downgrade_lose_nothing(fresh_host: Host, tmp_path: Path) -> None:
    """Invariants 1, 6 and 7: up, deploys and rollbacks of each version go on from what the other left."""
    with versions(fresh_host, tmp_path) as installed, leaving_nothing(Linked(fresh_host, "shop", 8000)) as shop:
        installed.use(older.VERSION)
        shop.write(text="first")
        shop("up")
        with traffic(fresh_host, shop.port) as seen:
            first = shop.current()
            seen.flows()
            second = shop.deploy()
            # 1. The new version says who made what serves. Should that start again before `up`, it is the new one's.
            installed.use(VERSION)
            found = doctor(shop)["upgrade"]
            assert found["state"] == "warning"
            assert f"an older gapless made shop@{second}.service, and this is gapless {VERSION} " in found["what"]
            assert found["hint"] == "`gapless up` starts it again, beside itself"
            fresh_host.run("systemctl", "restart", f"shop@{second}.service")
            # 2. `up` renews it, says so, and does so once.
            before = shop.live()
            assert f"Start {second} again, beside itself: an older gapless made its units." in shop("up", "-n").stdout
            assert shop.live()["pid"] == before["pid"]
            said = "".join(shop(*line.split()[1:]).stdout for line in RENEW)
            assert f"Start {second} again, beside itself" in said
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
            installed.use(older.VERSION)
            shop("up")
            shop.write(text="fourth")
            fourth = shop.deploy()
            shop("rollback", "--yes", third)
            shop("rollback", "--yes", fourth)
            shop("prune")
            assert doctor(shop)["live unit"]["state"] == "ok"
            # 5. And the new one again.
            installed.use(VERSION)
            assert f"Start {fourth} again" in shop("up").stdout
            seen.flows()
        assert seen.lost == []
        assert seen.releases == {first, second, third, fourth}


def test_what_cannot_start_again_serves_on(fresh_host: Host) -> None:
    """Invariants 3 and 11: an `up` that is to renew a release which does not start any more fails, and harms nobody."""
    with leaving_nothing(Shop(fresh_host, "shop", 8000)) as shop:
        shop.write(app="open(os.environ['GAPLESS_SHARED'] + '/once', 'x')")
        shop("up")
        before = shop.live()
        unit = f"/etc/systemd/system/{before['unit']}"
        fresh_host.run("sed", "-i", "1s/gapless [^ ]* /gapless 9.9 /", unit)
        with traffic(fresh_host, shop.port) as seen:
            said = shop.fails("up")
            assert f"cannot start {before['release']} again: exited with status 1 before it was ready" in said
            assert "what serves goes on" in said
            seen.flows()
            assert shop.live()["pid"] == before["pid"]
            assert shop.show("shop.socket", "ActiveState") == "active"
            assert doctor(shop)["upgrade"]["what"].startswith("gapless 9.9 (")
            fresh_host.run("rm", "/srv/shop/shared/once")
            shop("up")
            shop.settled()
            assert wrong(shop) == {}
        assert seen.lost == []


# Every process has libc, and so has to be started again once another is there.
ANOTHER_LIBC = """
libc=$(readlink -f "$(ldd /bin/sh | sed -n 's/.*libc\\.so[^ ]* => \\([^ ]*\\).*/\\1/p')")
cp -p "$libc" "$libc.new"
mv "$libc.new" "$libc"
"""


def test_what_needrestart_starts_again_after_an_upgrade_of_a_library(fresh_host: Host) -> None:
    """Invariant 1: systemd and its daemons are started again; the app's server is left to the next deploy."""
    host, shop = fresh_host, Shop(fresh_host, "shop", 8000)
    debs.download()
    debs.offer(host)
    shop.write()
    shop("up")
    host.run("sh", "-ec", "apt-get update -qq && apt-get install -qq --no-install-recommends needrestart", timeout=120)
    with traffic(host, shop.port) as seen:
        assert "needrestart" in doctor(shop)["installation"]["what"]
        assert "Have needrestart leave the restarts of shop to deploys" in shop("up").stdout
        assert "Already up" in shop("up").stdout
        before = shop.live()
        host.run("sh", "-ec", ANOTHER_LIBC)
        said = host.run("needrestart", "-r", "a", timeout=120).stdout
        restarted, deferred = said.split("deferred:")
        assert "systemd-manager" in restarted
        assert "systemd-journald.service" in restarted
        assert before["unit"] in deferred
        seen.flows()
        assert shop.live()["pid"] == before["pid"]
        # The next deploy brings the new library; and what is restarted by hand loses nothing, either.
        shop.deploy()
        shop.settled()
        assert "shop@" not in host.run("needrestart", "-b", "-l", timeout=120).stdout
        host.run("systemctl", "restart", shop.live()["unit"])
        seen.flows()
    assert seen.lost == []
    shop.remove()
    assert host.run("ls", "/etc/needrestart/conf.d").stdout == "README.needrestart\n"


# A service of one's own around `gapless run`, as docs/switchover.md has it.
RUN = """
[Service]
WorkingDirectory={project}
ExecStart={gapless} run
ExecReload={gapless} run --replace
"""


def test_a_service_around_gapless_run_is_reloaded(fresh_host: Host) -> None:
    """Invariant 1: the main process stays the same one, and so does what serves."""
    host, shop = fresh_host, Shop(fresh_host, "shop", 8000)
    shop.write()
    host.write("/etc/systemd/system/around.service", RUN.format(project=shop.project, gapless=" ".join(GAPLESS)))
    host.run("systemctl", "start", "around.service")
    wait_until(lambda: shop.status().get("instances") and shop.live()["ready"])
    before, pid = shop.status(), shop.show("around.service", "MainPID")
    with traffic(host, shop.port) as seen:
        for _ in range(2):
            host.run("systemctl", "reload", "around.service")
            seen.flows()
    after = shop.status()
    assert seen.lost == []
    assert after["supervisor"]["since"] > before["supervisor"]["since"]
    assert after["instances"][0]["pid"] == before["instances"][0]["pid"]
    assert shop.show("around.service", "MainPID") == pid == str(after["supervisor"]["pid"])
    host.run("systemctl", "stop", "around.service")
