"""`gapless pause` on a real host: visitors wait and none is lost, whoever pauses dies, whatever dies beside him."""

from __future__ import annotations

import http.client
import json
import random
import select
import socket
import time

from tests.host.host import Host
from tests.host.life import Shop, Visits, app_up, leaving_nothing, visits
from tests.host.test_reboot import cut, goes_on, holds
from tests.host.traffic import traffic
from tests.support import wait_until

WAKE = "shop.wake.*"


def paused(shop: Shop) -> dict[str, object] | None:
    """What status says of the pause."""
    found: dict[str, object] | None = shop.status()["paused"]
    return found


def timers(shop: Shop) -> str:
    """The units of the timer that systemd knows."""
    return shop.host.run("systemctl", "list-units", "--all", "--no-legend", "--plain", WAKE).stdout


def ask(connection: socket.socket) -> None:
    """Send a request."""
    connection.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")


def answer(connection: socket.socket) -> int:
    """The status of the answer, all of which is read."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def answered(seen: Visits) -> None:
    """Wait until visitors who come from now on are answered."""
    began = time.monotonic()
    wait_until(lambda: any(at > began for at, _text in list(seen.answers)[-8:]), 30, "an answer")


def test_traffic_waits_and_nothing_is_lost(host: Host) -> None:
    """Invariants 1, 6 and 7: new connections, open ones, and ones that send late, in five pauses, one of them ended by
    its timer; the very same process and socket serve afterwards."""
    with app_up(host) as shop:
        before, inode = shop.live(), shop.inode()
        with traffic(host, shop.port) as seen:
            seen.flows()
            for _ in range(4):
                shop("pause")
                count = len(seen.samples)
                assert "Already paused" in shop("pause").stdout
                assert "the app is paused until" in shop.fails("deploy")
                assert len(seen.samples) == count
                shop("resume")
                seen.flows()
            shop("pause", "--at-most", "4s")
            seen.flows()
        assert seen.lost == []
        assert paused(shop) is None
        assert "Already resumed" in shop("resume").stdout
        assert (shop.live()["id"], shop.inode()) == (before["id"], inode)
        wait_until(lambda: timers(shop) == "", what="the timer is gone")


def test_an_idle_connection_holds_up_no_pause(host: Host) -> None:
    """Invariant 6: with `linger` at a minute a pause is there at once; the connection is kept and answered later."""
    with leaving_nothing(Shop(host, "shop", 8000)) as shop:
        shop.write(linger="60s")
        shop("up")
        with host.connect(shop.port) as idle:
            ask(idle)
            assert answer(idle) == 200
            began = time.monotonic()
            shop("pause")
            assert time.monotonic() - began < 30
            ask(idle)
            assert not select.select([idle], [], [], 1)[0]
            shop("resume")
            assert answer(idle) == 200


def test_whoever_pauses_is_killed_at_any_moment(host: Host) -> None:
    """Invariant 5: SIGKILL at random moments; at the latest after --at-most visitors are answered, and none is lost."""
    with app_up(host) as shop, visits(shop) as seen:
        chance = random.Random(7)  # noqa: S311 -- of moments
        for _ in range(8):
            pause = shop.popen("pause", "--at-most", "3s")
            time.sleep(chance.uniform(0.1, 0.9))  # it is what varies, nothing is waited for
            pause.kill()
            pause.communicate()
            killed = time.monotonic()
            wait_until(lambda: paused(shop) is None)
            answered(seen)
            assert time.monotonic() - killed < 12  # and a busy machine's own time
    assert seen.lost == []


def test_the_clock_of_systemd_goes_on_through_its_own_upgrade(host: Host) -> None:
    """Invariant 5: daemon-reload and daemon-reexec in a pause do not lose the timer."""
    with app_up(host) as shop, visits(shop) as seen:
        shop("pause", "--at-most", "5s")
        for verb in ("daemon-reload", "daemon-reexec"):
            host.run("systemctl", verb)
        answered(seen)
    assert seen.lost == []


def test_a_server_that_hangs_when_its_pause_is_over(host: Host) -> None:
    """Invariant 5: it is told again and again, and serves once it can."""
    with app_up(host) as shop:
        pid = shop.live()["pid"]
        shop("pause", "--at-most", "4s")
        host.run("kill", "-STOP", str(pid))
        wait_until(lambda: "activating" in timers(shop), 30, "a second try")
        host.run("kill", "-CONT", str(pid))
        assert shop.get()
        assert shop.live()["pid"] == pid
        wait_until(lambda: timers(shop) == "")


def test_the_death_of_the_server_ends_a_pause(host: Host) -> None:
    """Invariant 5: systemd starts the current release anew, and it serves; nothing else is lost, deploys go on."""
    with app_up(host) as shop, visits(shop) as seen:
        shop("pause", "--at-most", "60s")
        with seen.killing():
            host.run("kill", "-KILL", str(shop.live()["pid"]))
            answered(seen)
        assert paused(shop) is None
        shop.write(text="after")
        release = shop.deploy()
        wait_until(lambda: release in seen.releases)
    assert seen.lost == []


def test_a_power_cut_in_a_pause(fresh_host: Host) -> None:
    """Invariant 5: after the boot the release serves, and nobody is told of a pause."""
    shop = Shop(fresh_host, "shop", 8000)
    shop.write()
    shop("up")
    release = shop.current()
    shop("pause", "--at-most", "10m")
    cut(fresh_host)
    holds(shop, {release})
    assert paused(shop) is None
    assert json.loads(shop("pause", "--json").stdout)["changed"]
    shop("resume")
    goes_on(shop)


def test_a_pause_while_the_old_release_drains(host: Host) -> None:
    """Invariant 2: what was accepted before the last switchover is still answered, so nobody waits for nothing."""
    with leaving_nothing(Shop(host, "shop", 8000)) as shop:
        shop.write(linger="60s")
        shop("up")
        with host.connect(shop.port) as idle:
            ask(idle)
            assert answer(idle) == 200
            first = shop.current()
            shop.write(text="second")
            shop.deploy()
            assert f"{first} still answers visitors" in shop.fails("pause")
            assert shop.get().endswith("second")
            pause = shop.popen("pause", "--lock-wait", "60s")
        said = pause.communicate(timeout=90)[0]
        assert pause.returncode == 0, said
        assert [one["role"] for one in shop.status()["instances"]] == ["live"]
        shop("resume")
