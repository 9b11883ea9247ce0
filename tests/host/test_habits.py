"""What operators do by habit with systemctl: who serves goes on, doctor says what is so, its advice loses nobody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.host.advice import doctor, follow, hint, wrong
from tests.host.host import Host
from tests.host.life import Shop, app_up, insist, visits
from tests.support import wait_until

DROP_IN = "/etc/systemd/system/shop.socket.d/tuned.conf"


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app that is up, for all tests: each leaves it whole."""
    with app_up(host) as one:
        one.deploy()
        one.settled()
        yield one


def test_a_socket_that_nobody_ends_by_habit(shop: Shop) -> None:
    """Invariants 1 and 11: also while a release drains: systemd itself would cut off who comes as the drain ends."""
    with visits(shop) as seen:
        shop.deploy()
        for habit in ("restart", "stop", "try-restart", "reload-or-restart", "disable --now"):
            refused = shop.host.run("systemctl", *habit.split(), "shop.socket", check=False)
            assert "refuse" in refused.stderr, habit
        shop.settled()
        assert shop.show("shop.socket", "ActiveState") == "active"
        shop("up")  # it is enabled again
        assert wrong(shop) == {}
    assert seen.losses == []


@pytest.mark.parametrize("habit", ["restart", "stop"])
@pytest.mark.parametrize("then", ["advice", "deploy", "rollback"])
def test_a_socket_that_systemd_has_lost(shop: Shop, habit: str, then: str) -> None:
    """Invariants 1 and 11: the server has it still; doctor says so, and up, deploy and rollback lose nobody."""
    before = shop.live()
    with visits(shop) as seen:
        insist(shop.host, habit, "shop.socket")
        assert shop.show("shop.socket", "ActiveState") != "active"
        found = doctor(shop)["socket"]
        assert "answers on a socket that ends with it" in found["what"]
        if then == "advice":
            assert "Open shop.socket again." in follow(shop, found["hint"])
        else:
            shop(then)
        shop.settled()
        assert wrong(shop) == {}
        assert shop.live()["pid"] != before["pid"]
        assert (shop.live()["release"] == before["release"]) is (then == "advice")
        assert shop.show("shop.socket", "ActiveState") == "active"
        assert shop("up").stdout.startswith("Already up")
    assert seen.losses == []
    shop.deploy()
    shop.settled()


@pytest.mark.parametrize("time", ["the first", "the second"])
def test_nobody_waits_for_the_successor_of_a_lost_socket(shop: Shop, time: str) -> None:
    """Invariant 1: while it boots, no visitor comes to the socket that waits for it; also where it is not the first."""
    shop.write(boot=6, text=time)
    with visits(shop) as seen:
        insist(shop.host, "stop", "shop.socket")
        shop.deploy()
        shop.settled()
        assert wrong(shop) == {}
    assert seen.losses == []
    assert seen.longest < 3, "some waited until it had booted"


@pytest.mark.parametrize("end", ["fails", "is killed"])
def test_a_socket_is_shut_again_where_its_successor_does_not_come(shop: Shop, end: str) -> None:
    """Invariants 5 and 11: who serves goes on with the socket that it has; the next `up` opens another."""
    before = shop.live()
    slow = "/run/systemd/system/shop@.service.d"
    with visits(shop) as seen:
        insist(shop.host, "stop", "shop.socket")
        shop.host.write(
            f"{slow}/slow.conf", f"[Service]\nExecStartPre=/bin/{'sleep 5' if end == 'is killed' else 'false'}\n"
        )
        shop.host.run("systemctl", "daemon-reload")
        if end == "fails":
            assert "what serves goes on" in shop.fails("up")
        else:
            up = shop.popen("up")
            wait_until(lambda: "start-pre" in shop.show("shop@*", "SubState").split(), 30)
            up.kill()
            up.communicate(timeout=30)
        wait_until(lambda: shop.show("shop.socket", "ActiveState") == "inactive", 30)
        shop.host.run("rm", "-r", slow)
        shop.host.run("systemctl", "daemon-reload")
        assert shop.live()["pid"] == before["pid"]
        assert "Open shop.socket again." in shop("up").stdout
        shop.settled()
        assert wrong(shop) == {}
    assert seen.losses == []


def test_a_candidate_that_fails_then(shop: Shop) -> None:
    """Invariants 3 and 11: who serves goes on with the socket that it has, also when it has to start again."""
    before = shop.live()
    with visits(shop) as seen:
        insist(shop.host, "restart", "shop.socket")
        shop.write(app="raise SystemExit('no settings')")
        assert "no settings" in shop.fails("deploy")
        assert shop.live()["pid"] == before["pid"]
        with seen.killing():
            shop.host.run("kill", "-KILL", str(before["pid"]))
            wait_until(lambda: shop.live()["pid"] not in (0, before["pid"]))
        shop.write(text="better")
        shop.deploy()
        shop.settled()
        assert wrong(shop) == {}
    assert seen.lost == []


@pytest.mark.parametrize("habit", ["restart", "stop", "reload-or-restart"])
def test_a_service_that_is_restarted(shop: Shop, habit: str) -> None:
    """Invariant 1: who connects waits until it is there again."""
    before = shop.live()
    with visits(shop) as seen:
        shop.host.run("systemctl", habit, before["unit"])
        wait_until(lambda: shop.live()["pid"] not in (0, before["pid"]))
        shop.deploy()
        shop.settled()
        assert wrong(shop) == {}
    assert seen.losses == []


@pytest.mark.parametrize(
    "setting", ["Backlog=7", "ListenStream=127.0.0.1:8009", "SocketMode=0600", "Service=x.service"]
)
def test_a_drop_in_by_hand(shop: Shop, setting: str) -> None:
    """Invariant 8: what gapless.toml decides is changed; doctor names the file, and what removes it."""
    shop.host.write(DROP_IN, f"[Socket]\n{setting}\n")
    shop.host.run("systemctl", "daemon-reload")
    found = doctor(shop)["socket settings"]
    assert found["state"] == "warning"
    assert f"{DROP_IN} sets {setting.partition('=')[0]}" in found["what"]
    with visits(shop) as seen:
        follow(shop, found["hint"])
        assert wrong(shop) == {}
    assert seen.losses == []


def test_an_address_more(shop: Shop) -> None:
    """Invariant 1: it closes no other, so nobody is asked, and nobody notices."""
    shop.write(config="", text="two")
    path = f"{shop.project}/gapless.toml"
    whole = shop.host.read(path)
    shop.host.write(path, whole.replace('"127.0.0.1:8000"', '["127.0.0.1:8000", "127.0.0.1:8001"]'))
    with visits(shop) as seen:
        shop.deploy()  # what it replaces still drains when the socket is closed, to be opened with both
        shop("up")
        assert shop.host.get(8001)[0] == 200
        shop.settled()
        assert wrong(shop) == {}
        # One less closes one, and is asked.
        shop.host.write(path, whole)
        said = shop.fails("up")
        assert "listens on 127.0.0.1:8000, 127.0.0.1:8001" in said
        follow(shop, hint(said))
        shop.settled()
        assert wrong(shop) == {}
    assert seen.losses == []
    assert shop.host.run("sh", "-c", "ss -Hltn | grep -c 8001", check=False).stdout == "0\n"
