"""A release of which anything runs is not pruned: a worker in its drain, a timer's job, an exec, a daemon of one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.host.host import Host
from tests.host.life import Shop
from tests.support import wait_until

JOB = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
shared, what = os.environ["GAPLESS_SHARED"], sys.argv[1]
home = os.getcwd()
sys.path.insert(0, home)
if what == "daemon":
    if os.fork():
        sys.exit()
    os.setsid()
    os.chdir("/")
if what == "elsewhere":  # its directory tells of it alone
    if "GAPLESS_RELEASE" in os.environ:
        os.execve(sys.executable, [sys.executable, __file__, what], {"GAPLESS_SHARED": shared})

def say(text):
    with open(shared + "/log", "a") as log:
        log.write(f"{what} {text}\\n")

say("began")
while not os.path.exists(shared + "/go"):
    time.sleep(0.05)
try:
    import late
    say("imported")
except ImportError:
    say("failed")
"""
KINDS = ("worker", "timer", "exec", "daemon", "elsewhere")
CONFIG = f"""
release = {{ keep = 2 }}
[processes.worker]
command = "{sys.executable} job.py worker"
drain = "120s"
[timers.tick]
command = "{sys.executable} job.py timer"
calendar = "*-*-* *:*:*"
"""


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app that is up, with a worker and a timer's job of its first release at work."""
    one = Shop(host, "shop", 8000)
    one.write(config=CONFIG)
    host.write(f"{one.project}/job.py", JOB)
    host.write(f"{one.project}/late.py", "")
    one("up")
    yield one
    one.remove()
    assert one.left() == ""


def log(shop: Shop) -> list[str]:
    return shop.host.run("cat", "/srv/shop/shared/log", check=False).stdout.splitlines()


def releases(shop: Shop) -> list[str]:
    return shop.host.run("ls", "/srv/shop/releases").stdout.split()


def test_a_release_in_use_is_kept_and_goes_afterwards(shop: Shop) -> None:
    """Invariant 12: what any process of a release imports later is there; then the release goes, its units too."""
    # 1. Five things of the first release are at work.
    first = shop.current()
    started = [shop.popen("exec", "--", sys.executable, "job.py", kind) for kind in ("exec", "elsewhere")]
    env = {"GAPLESS_RELEASE": first, "GAPLESS_SHARED": "/srv/shop/shared"}
    quietly = ("sh", "-c", 'exec "$0" "$@" > /dev/null 2>&1')
    tree = f"/srv/shop/releases/{first}"
    shop.host.run(*quietly, sys.executable, "job.py", "daemon", env=env, cwd=tree, user="shop")
    wait_until(lambda: {f"{kind} began" for kind in KINDS} <= {*log(shop)}, 30, "all are at work")
    # 2. More deploys than are kept.
    shop.write(text="quiet", config="release = { keep = 2 }")
    for _ in range(3):
        shop.deploy()
        shop.settled()
    second = releases(shop)[1]
    assert first in releases(shop)
    assert len(releases(shop)) == 3
    # 3. A prune says that it has nothing to do, and all five find what they need.
    assert shop("prune", "-n").stdout == shop("prune").stdout == "Already pruned: nothing to remove.\n"
    shop.host.run("touch", "/srv/shop/shared/go")
    wait_until(lambda: {f"{kind} imported" for kind in KINDS} <= {*log(shop)}, 30, f"in {log(shop)}")
    assert not [line for line in log(shop) if "failed" in line]
    ended(started)
    # 4. They have ended: it goes, and with it its units.
    wait_until(lambda: shop("prune") and first not in releases(shop), 30)
    assert second in releases(shop)
    assert first not in shop.left()


def ended(started: list[subprocess.Popen[str]]) -> None:
    for one in started:
        said, _ = one.communicate(timeout=30)
        assert one.returncode == 0, said


def test_doctor_is_content_after_more_deploys_than_are_kept(shop: Shop) -> None:
    """Invariant 12: the unit files of a release go when it does, not one deploy later."""
    shop.host.run("touch", "/srv/shop/shared/go")
    shop.write(config="release = { keep = 2 }")
    for _ in range(4):
        shop.deploy()
        shop.settled()
    shop("prune")
    found = {one["name"]: one for one in json.loads(shop("doctor", "--json", check=False).stdout)["findings"]}
    assert found["unit files"]["state"] == "ok", found["unit files"]
    shop.deploy()
    found = {one["name"]: one for one in json.loads(shop("doctor", "--json", check=False).stdout)["findings"]}
    assert found["unit files"]["state"] == "ok", found["unit files"]
