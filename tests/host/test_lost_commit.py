"""The file that names the current release is lost or damaged: whatever is done then, the only server goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.host.advice import follow
from tests.host.host import Host
from tests.host.life import Shop, visits
from tests.support import wait_until

FILE = "/etc/systemd/system/shop.socket.d/current.conf"
DAMAGES = {
    "reverted": "systemctl revert shop.socket",
    "removed": f"rm {FILE}",
    "removed with its directory": f"rm -r {FILE[:-13]}; systemctl daemon-reload",
    "empty": f": > {FILE}; systemctl daemon-reload",
    "rubbish": f"head -c 4096 /dev/urandom > {FILE}; systemctl daemon-reload",
    "a link to nowhere": f"ln -sf /nowhere {FILE}; systemctl daemon-reload",
    "cut short": f"sed -i '/Service=/,$d' {FILE}; systemctl daemon-reload",
    "of nobody": f"sed -i 's/shop@.*service/shop@20200101T000000Z-0000000.service/' {FILE}",
    "of another app": f"sed -i 's/shop@/other@/' {FILE}; systemctl daemon-reload",
}


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app with two releases at least, for all tests: each leaves it whole."""
    one = Shop(host, "shop", 8000)
    one.write()
    one("up")
    one.write(text="second")
    one.deploy()
    one.settled()
    yield one
    one.remove()
    assert one.left() == ""


def another(shop: Shop) -> str:
    """The newest release but the current one."""
    releases = json.loads(shop("releases", "--json").stdout)["releases"]
    return str(next(one["release"] for one in releases if one["state"] == "good"))


def doctor(shop: Shop) -> dict[str, dict[str, str]]:
    return {one["name"]: one for one in json.loads(shop("doctor", "--json", check=False).stdout)["findings"]}


def whole(shop: Shop, release: str) -> None:
    """The file names `release`, systemd has read it and keeps that release up, and nothing is wrong."""
    wait_until(lambda: shop.live()["release"] == release)
    assert shop.show("shop.socket", "Upholds") == f"shop@{release}.service"
    wrong = {name: one for name, one in doctor(shop).items() if one["state"] in ("failed", "warning")}
    assert wrong.keys() <= {"clock"}, wrong


@pytest.mark.parametrize("damage", DAMAGES)
def test_doctors_advice_restores_the_file_and_nobody_notices(shop: Shop, damage: str) -> None:
    """Invariant 11: status and doctor say what is so; what doctor advises ends nothing, loses nothing, and says so."""
    before = shop.live()
    with visits(shop) as seen:
        shop.host.run("sh", "-c", DAMAGES[damage])
        # 1. What only looks tells the truth.
        assert shop("status").returncode == 0
        assert (shop.current(), shop.live()["pid"]) == (before["release"], before["pid"])
        assert shop("exec", "printenv", "GAPLESS_RELEASE").stdout == f"{before['release']}\n"
        found = doctor(shop)
        assert found["commit"]["state"] == "failed"
        assert found["instances"]["state"] == found["socket"]["state"] == "ok"
        assert found["commit"]["hint"] == "gapless prune"
        assert next(name for name in found if found[name]["state"] in ("failed", "warning")) == "commit"
        # 2. The advice.
        assert f"{FILE} named" in shop("prune").stderr
        whole(shop, before["release"])
        assert "Already pruned" in shop("prune").stdout
    assert seen.losses == []
    assert seen.releases == [before["release"]]
    assert shop.live()["pid"] == before["pid"]


@pytest.mark.parametrize("ledger", ["there", "gone"])
@pytest.mark.parametrize("verb", ["deploy", "up", "rollback"])
def test_every_other_command_restores_it_as_well(shop: Shop, verb: str, ledger: str) -> None:
    """Invariant 11: deploy, up and rollback do what they always do, also where the one that serves is all we know."""
    first, before = another(shop), shop.live()
    with visits(shop) as seen:
        shop.host.run("systemctl", "revert", "shop.socket")
        if ledger == "gone":
            shop.host.run("rm", "/srv/shop/current", "/srv/shop/ledger.jsonl")
        if verb == "up":
            assert f"Write {FILE} again" in shop("up", "-n").stdout
        argv = (verb, first) if verb == "rollback" else (verb,)
        done = shop(*argv)
        assert f"{FILE} named no release; now it names {before['release']}" in done.stderr
        shop.settled()
    assert seen.losses == []
    assert seen.releases[0] == before["release"]
    if verb == "up":
        assert shop.live()["pid"] == before["pid"]
        assert "Already up" in shop("up").stdout
    if verb == "rollback":
        assert shop.live()["release"] == first
    whole(shop, shop.live()["release"])


def test_in_doubt_nothing_is_done(shop: Shop) -> None:
    """Invariant 11: two releases serve and nothing tells which is the current one; the advice tells how to go on."""
    second, first = shop.live(), another(shop)
    shop.host.run("systemctl", "start", f"shop@{first}.service")
    shop.host.run("systemctl", "revert", "shop.socket")
    shop.host.run("rm", "/srv/shop/current", "/srv/shop/ledger.jsonl")
    pids = {one["release"]: one["pid"] for one in shop.status()["instances"]}
    with visits(shop) as seen:
        for argv in (["prune"], ["deploy"], ["rollback"], ["up"], ["rollback", first]):
            said = shop.fails(*argv)
            assert "cannot tell the current release" in said
            assert f"`kill {pids[first]}` ({first})" in said
        assert "2 releases serve" in shop("status", check=False).stderr
        assert {one["release"]: one["pid"] for one in shop.status()["instances"]} == pids
        shop.host.run("kill", str(pids[first]))
        shop.settled()
        shop("prune")
    assert seen.losses == []
    whole(shop, second["release"])


@pytest.mark.parametrize("signal", ["", "-INT"])
def test_a_file_that_is_lost_during_a_deploy_harms_nobody(shop: Shop, signal: str) -> None:
    """Invariants 3 and 11: the deploy fails, or is interrupted: the socket stays open, and what serves goes on."""
    before, inode = shop.live(), shop.inode()
    shop.write(boot=3, app="raise SystemExit('no settings')")
    with visits(shop) as seen:
        deploy = shop.popen("deploy")
        wait_until(lambda: [one for one in shop.status()["instances"] if one["role"] == "candidate"])
        shop.host.run("systemctl", "revert", "shop.socket")
        if signal:
            shop.host.run("kill", signal, str(shop.status()["locked_by"]["pid"]))
        deploy.communicate(timeout=60)
        assert deploy.returncode in (1, 130)
        assert (shop.live()["pid"], shop.inode()) == (before["pid"], inode)
        shop("prune")
        shop.settled()
    assert seen.losses == []
    whole(shop, before["release"])


@pytest.mark.parametrize("moment", ["build", "watch"])
def test_a_file_that_is_lost_before_and_after_a_switchover(shop: Shop, moment: str) -> None:
    """Invariants 1, 3 and 11: the deploy goes on; the only one that serves is not retired, the socket stays open."""
    before, inode = shop.live(), shop.inode()
    shop.write(text=moment, config='build = { run = "sleep 2" }')
    with visits(shop) as seen:
        deploy = shop.popen("deploy", "--watch", "4s")
        if moment == "watch":
            wait_until(lambda: (shop.status()["locked_by"] or {}).get("phase") == "watch")
        else:
            wait_until(lambda: (shop.status()["locked_by"] or {}).get("release"))
        shop.host.run("systemctl", "revert", "shop.socket")
        said, _ = deploy.communicate(timeout=60)
        assert deploy.returncode == 0, said
        shop.settled()
    assert seen.losses == []
    assert seen.releases == [before["release"], shop.current()]
    assert shop.inode() == inode
    whole(shop, shop.current())


def test_the_only_server_that_answers_is_not_retired(shop: Shop) -> None:
    """Invariant 11: the current release cannot start; an older one that somebody started serves until one can."""
    second, first = shop.live(), another(shop)
    shop.host.run("systemctl", "start", f"shop@{first}.service")
    shop.host.run("mv", f"/srv/shop/releases/{second['release']}/app.py", "/tmp/app.py")  # noqa: S108 -- the host's
    with visits(shop) as seen:
        with seen.killing():
            shop.host.run("kill", "-KILL", str(second["pid"]))
            wait_until(lambda: shop.show(f"shop@{second['release']}.service", "ActiveState") != "active")
        shop("prune")
        found = doctor(shop)["instances"]
        assert found["state"] == "failed"
        wait_until(lambda: "there is no such module" in follow(shop, found["hint"]))
        shop.write(text="third")
        follow(shop, found["hint"].partition("; ")[2])
        third = shop.current()
        shop.settled()
    assert seen.lost == []
    assert seen.releases[-1] == third


def test_after_a_boot_without_the_file_the_next_command_serves_again(fresh_host: Host) -> None:
    """Invariant 11: then nothing serves; the ledger knows what did."""
    shop = Shop(fresh_host, "shop", 8000)
    shop.write()
    shop("up")
    release = shop.live()["release"]
    fresh_host.run("systemctl", "revert", "shop.socket")
    fresh_host.kill_power()
    fresh_host.boot()
    assert shop.inode() == 0
    assert release in doctor(shop)["commit"]["what"]
    shop("prune")
    whole(shop, release)
    assert shop.get().split()[0] == release
