"""Deaths, crash loops and meddling under steady traffic."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.host import Host
from tests.host.life import Shop, Visits, visits
from tests.support import wait_until


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app that is up; each test leaves it so."""
    one = Shop(host, "shop", 8000)
    one.write()
    one("up")
    yield one
    one.remove()


def kill(shop: Shop, role: str, seen: Visits) -> None:
    """SIGKILL an instance, if there is one in this role now."""
    with seen.killing():
        for one in shop.status()["instances"]:
            if one["role"] == role and one["pid"]:
                shop.host.run("kill", "-KILL", str(one["pid"]), check=False)


def test_random_kills_lose_only_what_the_killed_had_in_hands(shop: Shop) -> None:
    """Invariants 1, 3 and 5: the deployer, the candidate, the live instance; the next deploy always works."""
    chance = random.Random(11)  # noqa: S311 -- of moments
    inode = shop.inode()
    with visits(shop) as seen:
        for number in range(12):
            shop.write(boot=0.2, text=str(number))
            deploy = shop.popen("deploy")
            time.sleep(chance.uniform(0.2, 1.6))  # the moment is what varies, nothing is waited for
            match number % 3:
                case 0:
                    deploy.kill()
                case 1:
                    kill(shop, "candidate", seen)
                case 2:
                    kill(shop, "live", seen)
            deploy.communicate(timeout=60)
            assert shop.live()["release"] == shop.current()
        shop.write(text="last")
        release = shop.deploy()
        shop.settled()
    assert seen.lost == []
    assert seen.releases[-1] == release
    assert shop.inode() == inode
    assert shop.show("shop.socket", "ActiveState") == "active"


def test_a_deployer_killed_right_after_the_commit(shop: Shop) -> None:
    """Invariant 5: the next command tells systemd of the commit; what it holds up is the new release, not the old."""
    for number in range(2):
        clerk = 'processes.clerk = { command = "sleep 1000" }'
        shop.write(text=f"committed-{number}", config=clerk)
        shop.killed_at_the_commit()
        assert shop.show("shop.socket", "NeedDaemonReload") == "yes"
        shop("prune")
        shop.settled()
        assert shop.show("shop.socket", "NeedDaemonReload") == "no"
        assert shop.get().endswith(f"committed-{number}")
        wait_until(lambda: shop.show(f"shop.clerk@{shop.current()}.service", "ActiveState") == "active")


def test_a_crash_looping_candidate_leaves_the_socket_alone(shop: Shop) -> None:
    """Invariants 1 and 3: twenty failed starts under load; no start limit of systemd is reached."""
    before, inode = shop.live(), shop.inode()
    shop.write(app="os.abort()")
    with visits(shop) as seen:
        said = shop.fails("deploy")
        assert "SIGABRT" in said
        bad = json.loads(shop("status", "--json").stdout)["last"]["to"]
        for _ in range(20):
            shop.host.run("systemctl", "start", f"shop@{bad}.service", check=False)
            assert shop.show("shop.socket", "ActiveState") == "active"
    assert seen.losses == []
    assert seen.releases == [before["release"]]
    assert (shop.live()["pid"], shop.inode()) == (before["pid"], inode)
    shop.host.run("systemctl", "reset-failed")


def test_daemon_reloads_and_reexecs_do_not_disturb_deploys(shop: Shop) -> None:
    """Invariant 1: other people's changes of units, in a loop."""
    inode = shop.inode()
    script = "while :; do systemctl daemon-reload; systemctl daemon-reexec; sleep 0.2; done"
    with visits(shop) as seen:
        meddler = shop.host.popen("sh", "-c", script)
        try:
            for number in range(3):
                shop.write(text=f"reloaded-{number}")
                shop.deploy()
        finally:
            meddler.kill()
            meddler.communicate()
        shop.settled()
    assert seen.losses == []
    assert shop.get().endswith("reloaded-2")
    assert shop.inode() == inode


def test_two_operators_at_once(shop: Shop) -> None:
    """Invariant 2: the second is refused and told of the first, or waits for it."""
    shop.write(boot=1.5, text="first")
    first = shop.popen("deploy")
    holder = wait_until(lambda: (shop.status()["locked_by"] or {}).get("release"))
    refused = shop("deploy", check=False)
    assert refused.returncode == 75
    assert f"release {holder}" in refused.stderr
    assert "root@" in refused.stderr
    waited = shop("deploy", "--lock-wait", "60s", "--json")
    assert first.wait(30) == 0
    first.communicate()
    assert json.loads(waited.stdout)["previous"] == holder
    shop.settled()


def test_a_deploy_outlives_its_terminal(shop: Shop) -> None:
    """Invariant 3: the SSH connection goes away in the middle; it goes on, and status tells how it ended."""
    shop.write(boot=5, text="alone")
    deploy = shop.popen("deploy")

    def deployer() -> dict[str, Any] | None:
        """Who deploys, once the ledger has it."""
        found = shop.status()
        return found["locked_by"] if found["last"]["outcome"] == "running" else None

    holder = wait_until(deployer)
    assert holder
    release = holder["release"]
    assert deploy.stdout is not None
    deploy.stdout.close()  # nobody reads any more
    shop.host.run("kill", "-HUP", str(holder["pid"]))
    assert f"to {release}, is under way" in shop("status").stdout
    assert deploy.wait(60) == 0
    assert shop.current() == release
    assert shop.status()["last"]["outcome"] == "succeeded"
    assert shop.get().endswith("alone")
    shop.settled()


def test_deploys_during_drains_and_a_second_sigterm(shop: Shop) -> None:
    """Invariant 6: several releases drain at a time; a second SIGTERM hurries one, the other goes on."""
    shop.write(linger="120s", text="patient")
    idle = []
    inode = shop.inode()
    for _ in range(2):
        shop.deploy()
        idle.append(shop.host.connect(shop.port))
        idle[-1].sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert idle[-1].recv(65536)
    last = shop.deploy()
    roles = [one["role"] for one in shop.status()["instances"]]
    assert roles.count("retiring") >= 2
    assert roles.count("live") == 1
    draining = [one for one in shop.status()["instances"] if one["role"] == "retiring"]
    for one in draining:
        shop.host.run("kill", "-TERM", str(one["pid"]))
    wait_until(lambda: not {one["id"] for one in draining} & {one["id"] for one in shop.status()["instances"]}, 30)
    for connection in idle:
        connection.close()
    assert shop.live()["release"] == last
    assert shop.inode() == inode
