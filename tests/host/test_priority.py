"""Under systemd, too, a candidate's boot must not delay those who serve."""

from __future__ import annotations

import json

from tests.host.host import Host
from tests.host.life import Shop
from tests.support import wait_until


def nice(shop: Shop, pid: int) -> int:
    return int(shop.host.run("ps", "-o", "ni=", "-p", str(pid)).stdout)


def session_of_systemd(shop: Shop) -> str:
    """Its autogroup and the nice value of that, sched(7); empty where the kernel has none."""
    return shop.host.run("cat", "/proc/1/autogroup", check=False).stdout


def test_a_candidate_boots_behind_the_others_and_serves_beside_them(host: Host) -> None:
    """Its process has less weight while it boots, and all of it when it is live."""
    shop = Shop(host, "calm", 8000)
    waits = 'import os, time\nwhile not os.path.exists("/srv/calm/shared/go"): time.sleep(0.05)'
    before = session_of_systemd(shop)
    shop.write()
    shop("up")
    shop.write(app=waits)
    deploy = shop.popen("deploy")

    def candidate() -> int:
        found = json.loads(shop("status", "--json").stdout)["instances"]
        return next((int(one["pid"]) for one in found if one["role"] == "candidate"), 0)

    pid = wait_until(candidate)
    wait_until(lambda: nice(shop, pid) == 10, 10, "the candidate has less weight")  # it has 20 s to boot
    assert session_of_systemd(shop) == before
    host.run("touch", "/srv/calm/shared/go")
    said, _ = deploy.communicate(timeout=60)
    assert deploy.returncode == 0, said
    assert shop.live()["pid"] == pid
    assert nice(shop, pid) == 0
    shop("down", "--yes", "--data")
