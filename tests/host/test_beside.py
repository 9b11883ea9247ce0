"""What runs beside the server is seen: a worker in a crash loop, a job that was killed or fails; timers run once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.host.advice import doctor, follow, wrong
from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing
from tests.support import wait_until

STEADY = 'processes = { worker = { command = "/bin/sleep 1000", drain = "1s" } }'
LOOPS = """processes = { worker = { command = ["/bin/sh", "-c", "exit 3"], drain = "1s" } }"""
IGNORES = "trap '' TERM; sleep 1000 & wait; wait"
STUBBORN = f"""processes = {{ worker = {{ command = ["/bin/sh", "-c", "{IGNORES}"], drain = "1s" }} }}"""
FAILS = """timers = { tick = { command = ["/bin/sh", "-c", "exit 4"], calendar = "*-*-* *:*:*" } }"""
TICK = """timers = {{ tick = {{ command = ["/bin/sh", "-c", "date +%s >> $GAPLESS_SHARED/log"], {when} }} }}"""


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    with leaving_nothing(Shop(host, "shop", 8000)) as one:
        one.write(config=STEADY)
        one("up")
        yield one


def log(shop: Shop) -> list[int]:
    return [int(line) for line in shop.host.run("cat", "/srv/shop/shared/log", check=False).stdout.split()]


def trouble(shop: Shop) -> str:
    return "; ".join(one["trouble"] for one in shop.status()["companions"])


def test_a_worker_in_a_crash_loop(shop: Shop) -> None:
    """The end of its deploy, status and doctor tell of it; doctor's advice goes back to a release that has none."""
    first = shop.current()
    assert [one["name"] for one in shop.status()["companions"]] == ["worker"]
    assert trouble(shop) == ""
    shop.write(config=LOOPS)
    done = shop("deploy")
    assert "the process worker of" in done.stderr
    assert "exited with status 3" in done.stderr
    assert "exited with status 3" in shop("status").stdout
    found = doctor(shop)["processes"]
    assert found["state"] == "failed"
    follow(shop, found["hint"])
    follow(shop, "gapless rollback")
    shop.settled()
    assert shop.current() == first
    wait_until(lambda: wrong(shop) == {})


def test_a_watch_turns_back_from_it(shop: Shop) -> None:
    """--watch sees a worker that does not keep running as it does the server."""
    first = shop.current()
    shop.write(config=LOOPS)
    said = shop.fails("deploy", "--watch", "20s")
    assert "its process worker exited with status 3" in said
    assert f"{first} serves again" in said
    assert shop.current() == first


def test_a_job_that_was_killed_at_the_end_of_its_drain(shop: Shop) -> None:
    """status and doctor tell of it, by its release, until the advice makes them forget it."""
    shop.write(config=STUBBORN)
    stubborn = shop.deploy()
    shop.write(config=STEADY)
    shop.deploy()
    wait_until(lambda: "was killed at the end of its drain" in trouble(shop))
    found = doctor(shop)["processes"]
    assert f"the process worker of {stubborn} was killed" in found["what"]
    follow(shop, found["hint"])
    shop.settled()
    assert wrong(shop) == {}


def test_a_timer_whose_job_fails(shop: Shop) -> None:
    """status and doctor tell of it."""
    shop.write(config=FAILS)
    shop.deploy()
    wait_until(lambda: "exited with status 4 when it ran last" in trouble(shop))
    found = doctor(shop)["processes"]
    assert "the timer tick of" in found["what"]
    assert found["hint"].startswith("`systemctl reset-failed")


def test_a_timer_that_is_due_during_deploys_runs_once(shop: Shop) -> None:
    """Each moment is one run, whichever release has the timer then."""
    shop.write(config=TICK.format(when='calendar = "*-*-* *:*:*"'))
    shop.deploy()
    wait_until(lambda: log(shop))
    for _ in range(6):
        shop.deploy()
    runs = log(shop)
    assert runs[-1] - runs[0] >= 6
    assert {*range(runs[0], runs[-1] + 1)} == {*runs}
    assert Counter(runs).most_common(1)[0][1] == 1


@pytest.mark.parametrize("persistent", ["true", "false"])
def test_a_timer_that_was_due_while_the_machine_was_off(fresh_host: Host, persistent: str) -> None:
    """A switch: then it runs after the boot, once, also when another release has the timer next."""
    shop = Shop(fresh_host, "shop", 8000)
    shop.write(config=TICK.format(when=f'calendar = "daily", persistent = {persistent}'))
    shop("up")
    stamp = f"/var/lib/systemd/timers/stamp-shop.tick@{shop.current()}.timer"
    if persistent == "true":
        fresh_host.run("touch", "-d", "2 days ago", stamp)
    fresh_host.kill_power()
    fresh_host.boot()
    if persistent == "true":
        wait_until(lambda: log(shop))
    shop.deploy()
    shop("rollback")
    shop.settled()
    assert len(log(shop)) == (1 if persistent == "true" else 0)
    assert json.loads(shop("config", "--json").stdout)["timers"]["tick"]["persistent"] is (persistent == "true")
