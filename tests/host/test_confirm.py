"""`deploy --confirm` on a real host: who is cut off, killed or without power confirms nothing; no visitor notices."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.advice import doctor, follow, hint
from tests.host.host import Host
from tests.host.life import Shop, app_up
from tests.host.test_reboot import cut
from tests.host.traffic import traffic
from tests.support import wait_until

GUARD, RECORD = "shop.confirm.service", "unconfirmed.json"


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app that is up; each test leaves it so, and nothing that waits."""
    with app_up(host) as one:
        yield one


def try_out(shop: Shop, text: str, *argv: str) -> dict[str, Any]:
    """Deploy a release that then waits to be confirmed."""
    shop.write(text=text)
    done: dict[str, Any] = json.loads(shop("deploy", "--confirm", *(argv or ("60s",)), "--json").stdout)
    assert done["confirm_by"] == shop.status()["unconfirmed"]["until"]
    return done


def decided(shop: Shop, release: str, seconds: float = 30.0) -> dict[str, Any]:
    """Wait until nothing waits any more, `release` alone serves, and its guard is gone; the ledger's last entry."""
    wait_until(lambda: shop.status()["unconfirmed"] is None and shop.current() == release, seconds, "a decision")
    shop.settled()
    assert shop.get().split()[0] == release
    wait_until(lambda: shop.show(GUARD, "ActiveState") == "inactive", what="the end of the guard")
    assert shop.host.run("find", "/etc/systemd/system", "/srv/shop", "-name", GUARD, "-o", "-name", RECORD).stdout == ""
    entry: dict[str, Any] = json.loads(shop("audit", "--json").stdout)["deploys"][-1]
    return entry


def lease(shop: Shop) -> str:
    """Take one; its token."""
    argv = ("lock", "acquire", "--why", "a fleet", "--for", "10m", "--by", "ada@laptop", "--json")
    return str(json.loads(shop(*argv).stdout)["token"])


def state(shop: Shop, release: str) -> str:
    found = json.loads(shop("releases", "--json").stdout)["releases"]
    return next(str(one["state"]) for one in found if one["release"] == release)


def test_confirmed_or_not_nothing_is_lost(shop: Shop) -> None:
    """Invariants 1 and 7: under traffic one release is confirmed, the next one nobody confirms; the very process that
    served before serves again."""
    with traffic(shop.host, shop.port) as seen:
        kept = try_out(shop, "kept")
        assert {one["release"] for one in shop.status()["instances"]} == {kept["release"], kept["previous"]}
        assert "waits to be confirmed" in shop("status").stdout
        assert json.loads(shop("confirm", kept["release"], "--json").stdout)["changed"]
        assert "Already confirmed" in shop("confirm", kept["release"]).stdout
        assert decided(shop, kept["release"])["outcome"] == "succeeded"
        before = shop.live()
        lost = try_out(shop, "lost", "2s")
        seen.flows()
        entry = decided(shop, kept["release"])
        assert shop.live()["pid"] == before["pid"]
        seen.flows()
    assert seen.lost == []
    assert seen.releases == {kept["previous"], kept["release"], lost["release"]}
    assert (entry["to"], entry["outcome"]) == (lost["release"], "failed")
    assert "nobody confirmed it until" in entry["error"]
    assert state(shop, lost["release"]) == "bad"
    assert f"not the current release: {kept['release']} serves" in shop.fails("confirm", lost["release"])


def test_advice_while_it_waits(shop: Shop) -> None:
    """Invariant 8: both ways out work as they stand, and what became of it is found where that is said."""
    kept = try_out(shop, "advised")
    assert "waits to be confirmed" in shop.fails("deploy")
    assert doctor(shop)["instances"]["state"] == "ok"
    follow(shop, doctor(shop)["unconfirmed"]["hint"])
    decided(shop, kept["release"])
    gone = try_out(shop, "turned back")
    _, keeps, turns_back = hint(shop.fails("prune")).partition("keeps it, ")
    assert keeps
    follow(shop, turns_back)
    assert "asked for it" in decided(shop, kept["release"])["error"]
    refused = shop.fails("confirm", gone["release"])
    assert "asked for it" in follow(shop, hint(refused))


def test_a_longer_stand_by(shop: Shop) -> None:
    """The end moves, for whoever has more hosts to look at, and what moved it is confirmed with its lease alone."""
    kept = try_out(shop, "longer", "20s")
    lease = json.loads(
        shop("lock", "acquire", "--why", "a fleet", "--for", "10m", "--by", "ada@laptop", "--json").stdout
    )
    token = ("--lease", lease["token"])
    assert "ada@laptop" in shop.fails("confirm")
    later = json.loads(shop("confirm", "--stand-by", "10m", *token, "--json").stdout)
    assert later["confirm_by"] == shop.status()["unconfirmed"]["until"] > kept["confirm_by"] + 300
    assert "needs --lease" in shop.fails("confirm", "--end-lease")
    shop("confirm", *token, "--end-lease")
    assert shop.status()["locked_by"] is None
    assert "Already" in shop("confirm", kept["release"], *token, "--end-lease").stdout  # the answer was lost, say
    decided(shop, kept["release"])


@pytest.mark.parametrize("moment", ["while it boots", "in its watch"])
def test_a_killed_deployer_confirms_nothing(shop: Shop, moment: str) -> None:
    """Invariants 3 and 5: killed while it boots nothing was touched; killed after the commit the host turns back by
    itself, though a lease that is left keeps everybody from deploying."""
    before = shop.live()
    shop.write(text=moment, boot=1.0)
    token = lease(shop)
    with traffic(shop.host, shop.port) as seen:
        deploy = shop.popen("deploy", "--confirm", "60s", "--watch", "60s", "--lease", token)
        if moment == "while it boots":
            wait_until(lambda: len(shop.status()["instances"]) > 1, what="a candidate")
        else:
            wait_until(lambda: (shop.status()["locked_by"] or {}).get("phase") == "watch", what="the watch")
            seen.flows()
        deploy.kill()
        deploy.communicate(timeout=60)
        entry = decided(shop, before["release"])
        seen.flows()
    assert seen.lost == []
    assert shop.live()["pid"] == before["pid"]
    assert state(shop, entry["to"]) == "bad"
    shop("lock", "release", "--lease", token)


def test_killed_right_after_the_commit(shop: Shop) -> None:
    """Invariant 5: before systemd heard of it, and before the one before stands by; it goes on, or serves again."""
    before = shop.current()
    shop.write(text="deadly")
    shop.killed_at_the_commit("deploy", "--confirm", "60s")
    decided(shop, before)


def test_a_guard_that_is_killed(shop: Shop) -> None:
    """Invariant 5: systemd starts it again; and where that is kept from it, the next command turns back."""
    before = shop.current()
    try_out(shop, "killed", "4s")
    shop.host.run("systemctl", "kill", "--signal=KILL", GUARD)
    decided(shop, before)
    try_out(shop, "stopped", "2s")
    shop.host.run("systemctl", "stop", GUARD)
    wait_until(lambda: shop.status()["unconfirmed"]["until"] < time.time())
    assert doctor(shop)["unconfirmed"]["state"] == "failed"
    follow(shop, doctor(shop)["unconfirmed"]["hint"])
    decided(shop, before)


def test_a_power_cut(shop: Shop) -> None:
    """Invariants 5 and 12: the next boot turns back, with nobody's help, to the release that was kept for that."""
    before = shop.current()
    lost = try_out(shop, "cut", "10m")
    cut(shop.host)
    entry = decided(shop, before, 60)
    assert (entry["to"], entry["outcome"]) == (lost["release"], "failed")
    kept = try_out(shop, "after the cut")
    shop("confirm")
    decided(shop, kept["release"])
    cut(shop.host)
    assert shop.get().split()[0] == kept["release"]
