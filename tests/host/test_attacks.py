"""What is wrong or half-done around an app on a host: settings, kills of up and down, a network that comes late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.host.host import Host
from tests.host.life import Shop, app_up
from tests.support import GAPLESS, wait_until


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app that is up; nothing of it is left afterwards."""
    with app_up(host) as one:
        yield one


def test_a_unit_that_systemd_refuses_fails_the_deploy_before_anything_is_touched(shop: Shop) -> None:
    """Invariant 3: found after the commit, it would keep the old release from retiring, and every later deploy out."""
    first = shop.live()["release"]
    shop.write(config='timers.t = { command = "/bin/true", calendar = "evry day" }')
    said = shop.fails("deploy")
    assert "systemd does not accept shop.t@" in said
    assert f"{first} goes on serving" in said
    assert shop.live()["release"] == first
    shop.write()
    second = shop.deploy()
    shop.settled()
    assert shop.live()["release"] == second


def test_a_candidate_that_somebody_stops_is_not_proven(shop: Shop) -> None:
    """Invariants 3 and 4: systemd calls it deactivating, as it calls an instance that was ready once."""
    first = shop.live()["release"]
    shop.write(app="import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)")
    deploy = shop.popen("deploy")
    candidate = wait_until(lambda: [one for one in shop.status()["instances"] if one["role"] == "candidate"])
    shop.host.run("systemctl", "stop", "--no-block", f"shop@{candidate[0]['release']}.service")
    said, _ = deploy.communicate(timeout=60)
    assert deploy.returncode == 1, said
    assert f"{first} goes on serving" in said
    assert shop.live()["release"] == first


def test_a_release_of_another_project_leaves_that_one_alone(shop: Shop) -> None:
    """Deployed by mistake, it must not take the other app's private sockets."""
    other = Shop(shop.host, "other", 8001)
    other.write()
    other("up")
    shop("deploy", other.project)
    assert shop.host.run("stat", "--format=%U", "/run/gapless/other", "/run/gapless/shop").stdout == "other\nshop\n"
    assert shop.get().split()[0] == shop.current()
    other.remove()


@pytest.mark.parametrize(
    ("unit", "slow", "moment"),
    [
        ("shop.socket", "[Socket]\nExecStopPost=/bin/sleep 3\n", "stop-post"),
        ("shop@.service", "[Service]\nExecStartPre=/bin/sleep 3\n", "start-pre"),
    ],
)
def test_an_up_that_is_killed_while_it_changes_the_address(shop: Shop, unit: str, slow: str, moment: str) -> None:
    """Invariants 5 and 7: it does not say that it is up already while nobody answers at the new address."""
    toml = f"{shop.project}/gapless.toml"
    shop.host.write(toml, shop.host.read(toml).replace("8000", "8002"))
    # So that there is a moment to kill it in.
    drop_in = f"/run/systemd/system/{unit}.d"
    shop.host.write(f"{drop_in}/slow.conf", slow)
    shop.host.run("systemctl", "daemon-reload")
    up = shop.popen("up", "--close-socket")
    pattern = unit.replace("@", "@*")
    wait_until(lambda: moment in shop.show(pattern, "SubState").split(), 30, moment)
    up.kill()
    up.communicate(timeout=30)
    shop.host.run("rm", "-r", drop_in)
    shop.host.run("systemctl", "daemon-reload")
    wait_until(lambda: shop.show("shop.socket", "ActiveState") == "inactive")
    wait_until(lambda: moment not in shop.show(pattern, "SubState").split())
    assert shop.get(), "what serves goes on"
    assert "Open shop.socket again." in shop("up", "-n", "--close-socket").stdout
    shop("up", "--close-socket")
    shop.port = 8002
    assert shop.get()
    assert shop("up").stdout.startswith("Already up")


def test_a_down_that_is_killed_is_finished_by_the_next(shop: Shop) -> None:
    """Invariants 5 and 7: it does not say that it is down already while releases and their secrets are there."""
    # As a kill there would, this ends it in the middle of the files.
    shop.host.run("mount", "--bind", "/srv/shop/log", "/srv/shop/log")
    try:
        assert "cannot remove shop" in shop.fails("down", "--yes")
    finally:
        shop.host.run("umount", "/srv/shop/log")
    assert "Removed shop" in shop("down", "--yes").stdout
    assert shop.host.run("ls", "/srv/shop").stdout.split() == ["ledger.jsonl", "shared"]


def test_a_unix_socket_is_gone_after_down(host: Host) -> None:
    """Whatever its path is; and down removes what up made."""
    shop, path = Shop(host, "shop", 8000), "/run/the shop%n.sock"
    shop.write()
    shop.host.write(
        f"{shop.project}/gapless.toml",
        shop.host.read(f"{shop.project}/gapless.toml").replace("127.0.0.1:8000", f"unix:{path}"),
    )
    shop("up")
    assert host.run("stat", "--format=%F", path).stdout == "socket\n"
    shop.remove()
    assert host.run("test", "-e", path, check=False).returncode == 1


def test_the_ledger_names_who_typed_sudo(shop: Shop) -> None:
    """Invariant 2: each deploy under systemd is root's, and root is nobody in particular."""
    shop.host.run(*GAPLESS, "deploy", cwd=shop.project, env={"SUDO_USER": "anna"})
    attempts = shop.host.read("/srv/shop/ledger.jsonl")
    assert attempts.count('"who":"root@') == 1
    assert attempts.count('"who":"anna@') == 1


def test_an_address_that_comes_late_at_boot_is_held_all_the_same(fresh_host: Host) -> None:
    """Sockets open before the network has all its addresses; nothing would open a failed one again."""
    shop = Shop(fresh_host, "shop", 8000)
    shop.write()
    config = f"{shop.project}/gapless.toml"
    fresh_host.write(config, fresh_host.read(config).replace("127.0.0.1", "10.9.8.7"))
    fresh_host.run("ip", "address", "add", "10.9.8.7/32", "dev", "lo")
    shop("up")
    fresh_host.kill_power()
    fresh_host.boot()
    assert shop.show("shop.socket", "ActiveState") == "active"
    fresh_host.run("ip", "address", "add", "10.9.8.7/32", "dev", "lo")
    fresh_host.address = "10.9.8.7"
    assert shop.get()
