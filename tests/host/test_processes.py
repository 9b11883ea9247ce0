"""[processes] and [timers]: what a release runs beside its server, on a real host."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import pytest

from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing
from tests.support import wait_until

WORKER = """
import os, signal, sys, threading

def say(what):
    with open(os.environ["GAPLESS_SHARED"] + "/log", "a") as log:
        log.write(f"{what} {os.environ['GAPLESS_RELEASE']} {os.getpid()}\\n")

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
say(sys.argv[1] + "-began")
while not stop.wait(0.1):
    pass
threading.Event().wait(float(sys.argv[2]))  # the job that it was at
say(sys.argv[1] + "-finished")
"""
CONFIG = f"""
[processes.worker]
command = "{sys.executable} worker.py worker 2"
drain = "20s"
[processes.stubborn]
command = "{sys.executable} worker.py stubborn 600"
drain = "1s"
"""
TIMER = """
[timers.tick]
command = ["/bin/sh", "-c", 'echo "tick $GAPLESS_RELEASE" >> "$GAPLESS_SHARED/log"']
calendar = "*-*-* *:*:*"
"""


@contextlib.contextmanager
def app(host: Host, config: str) -> Iterator[Shop]:
    """An app with these settings, not up yet; nothing of it is left afterwards."""
    with leaving_nothing(Shop(host, "shop", 8000)) as one:
        one.write(config=config)
        host.write(f"{one.project}/worker.py", WORKER)
        yield one


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    with app(host, CONFIG) as one:
        yield one


def log(shop: Shop) -> list[str]:
    """What processes and timers have said, without pids."""
    said = shop.host.run("cat", f"/srv/{shop.name}/shared/log", check=False).stdout
    return [line.rpartition(" ")[0] if line.count(" ") == 2 else line for line in said.splitlines()]


def says(shop: Shop, line: str, times: int = 1) -> None:
    wait_until(lambda: log(shop).count(line) >= times, 30, f"{line!r} in {log(shop)}")


def test_a_process_runs_as_long_as_its_release_is_live(shop: Shop) -> None:
    """It starts after the commit, finishes its job within its drain, and comes back with a rollback."""
    shop("up")
    first = shop.current()
    says(shop, f"worker-began {first}")
    second = shop.deploy()
    says(shop, f"worker-began {second}")
    says(shop, f"worker-finished {first}")
    assert shop.show(f"shop.worker@{second}.service", "TimeoutStopUSec") == "20s"
    shop("rollback")
    says(shop, f"worker-began {first}", 2)
    says(shop, f"worker-finished {second}")
    assert log(shop).count(f"worker-began {first}") == 2


def test_a_process_that_takes_too_long_is_killed(shop: Shop) -> None:
    """Its own `drain` bounds it, not that of the server."""
    shop("up")
    first = shop.current()
    says(shop, f"stubborn-began {first}")
    shop.deploy()
    unit = f"shop.stubborn@{first}.service"
    wait_until(lambda: shop.show(unit, "ActiveState") in ("inactive", "failed"))
    assert f"stubborn-finished {first}" not in log(shop)


def test_a_process_that_dies_is_started_again(shop: Shop) -> None:
    """SIGKILL its process: another one comes; the server is not touched."""
    shop("up")
    live = shop.live()
    unit = f"shop.worker@{live['release']}.service"
    says(shop, f"worker-began {live['release']}")
    shop.host.run("kill", "-KILL", shop.show(unit, "MainPID"))
    says(shop, f"worker-began {live['release']}", 2)
    assert shop.live()["pid"] == live["pid"]


def test_a_server_that_dies_keeps_its_processes(shop: Shop) -> None:
    """systemd starts the server again; its worker goes on with its job meanwhile, and is still the release's."""
    shop("up")
    live = shop.live()
    unit = f"shop.worker@{live['release']}.service"
    says(shop, f"worker-began {live['release']}")
    worker = shop.show(unit, "MainPID")
    shop.host.run("kill", "-KILL", str(live["pid"]))
    wait_until(lambda: shop.live()["pid"] not in (0, live["pid"]), 30)
    assert shop.get()
    assert shop.show(unit, "MainPID") == worker
    shop.deploy()
    says(shop, f"worker-finished {live['release']}")


def test_the_process_of_a_server_that_died_goes_with_the_next_deploy(shop: Shop) -> None:
    """A crash-looping release's server may be down when the next one is committed: nothing tells its processes then."""
    shop("up")
    first = shop.current()
    says(shop, f"worker-began {first}")
    shop.write(text="mended", config=CONFIG)
    # systemd starts a server that died again: as long as its program is gone, it cannot.
    shop.host.run("mv", f"/srv/shop/releases/{first}", "/srv/shop/away")
    shop.host.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", f"shop@{first}.service")
    wait_until(lambda: shop.show(f"shop@{first}.service", "ActiveState") == "failed", 30)
    shop.host.run("mv", "/srv/shop/away", f"/srv/shop/releases/{first}")
    shop.deploy()
    says(shop, f"worker-finished {first}")


def test_a_first_deploy_killed_after_its_commit_has_its_processes_from_the_next(shop: Shop) -> None:
    """Invariant 5: what follows the commit is made up for, also where no older release has to retire."""
    shop.killed_at_the_commit("up")
    assert log(shop) == []
    shop("prune")
    says(shop, f"worker-began {shop.current()}")


def test_a_release_that_fails_never_starts_its_processes(shop: Shop) -> None:
    """Invariant 3: a worker of a release that is not proven touches nothing; that of the live one goes on."""
    shop("up")
    first = shop.current()
    says(shop, f"worker-began {first}")
    shop.write(app="raise RuntimeError('no settings')", config=CONFIG)
    assert "no settings" in shop.fails("deploy")
    assert shop.show(f"shop.worker@{first}.service", "ActiveState") == "active"
    assert {line.split()[1] for line in log(shop)} == {first}


def test_a_timer_runs_the_current_release(host: Host) -> None:
    """After a switchover its moments are the new release's, never again the old one's; a rollback turns it round."""
    with app(host, TIMER) as shop:
        shop("up")
        first = shop.current()
        says(shop, f"tick {first}", 2)
        second = shop.deploy()
        ticks_only(shop, second, first)
        watched = shop.popen("rollback", "--watch", "8s")
        wait_until(lambda: shop.current() == first)
        ticks_only(shop, first, second)  # while the other stands by
        assert watched.poll() is None
        said, _ = watched.communicate(timeout=60)
        assert watched.returncode == 0, said


def ticks_only(shop: Shop, new: str, old: str) -> None:
    wait_until(lambda: shop.show(f"shop.tick@{old}.timer", "ActiveState") == "inactive")
    before = log(shop)
    says(shop, f"tick {new}", before.count(f"tick {new}") + 3)
    assert f"tick {old}" not in log(shop)[len(before) + 1 :]  # one may have been at it when it was switched over


def test_processes_and_timers_start_at_boot(fresh_host: Host) -> None:
    """Invariant 5: after a power cut the current release's are there, and nobody else's."""
    with app(fresh_host, CONFIG + TIMER) as shop:
        shop("up")
        first = shop.current()
        second = shop.deploy()
        says(shop, f"worker-began {second}")
        says(shop, f"tick {second}")
        fresh_host.kill_power()
        fresh_host.boot()
        until = log(shop)
        assert shop.current() == second
        says(shop, f"worker-began {second}", 2)
        says(shop, f"tick {second}", until.count(f"tick {second}") + 2)
        assert log(shop).count(f"worker-began {first}") == 1
        assert f"tick {first}" not in log(shop)[len(until) :]
