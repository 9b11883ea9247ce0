"""An app's whole life on a host: up, deploys, down."""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.host.advice import hint, wrong
from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing, visits
from tests.support import GAPLESS, get, wait_until

# It does not start in a directory that another instance had.
OWN = """
import pathlib
runtime = pathlib.Path(os.environ["GAPLESS_RUNTIME"])
assert [*runtime.iterdir()] == []
(runtime / "own").write_text("")
print("good evening", flush=True)
"""


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app that is not up yet; nothing of it is left afterwards."""
    with leaving_nothing(Shop(host, "shop", 8000)) as one:
        one.write()
        yield one


def test_from_up_to_down(shop: Shop) -> None:
    """Invariants 1 and 7: each command says when there is nothing to do, and down leaves the data."""
    # 1. Only told, nothing changes.
    told = shop("up", "-n").stdout
    assert "+ListenStream=127.0.0.1:8000" in told
    assert "Make the system user shop." in told
    assert shop.left() == ""
    # 2. It is up, and stays as it is.
    assert "is live." in shop("up").stdout
    first = shop.live()
    assert shop.get().split()[:2] == [first["release"], str(first["pid"])]
    assert shop.host.run("stat", "--format=%U", f"/proc/{first['pid']}").stdout == "shop\n"
    assert shop("up").stdout == "Already up: nothing to change.\n"
    assert shop("up", "-n").stdout == "Nothing: it is up already.\n"
    assert shop.live() == {**first, "memory": shop.live()["memory"], "status": shop.live()["status"]}
    # 3. Deploy, look, roll back.
    inode = shop.inode()
    shop.write(text="second", app="print('good morning', flush=True)")
    second = shop.deploy()
    assert shop.get().split()[2] == "second"
    assert "good morning" in shop("logs").stdout
    assert [one["release"] for one in json.loads(shop("releases", "--json").stdout)["releases"]]
    assert second in shop("releases").stdout
    assert shop("exec", "--", "printenv", "GAPLESS_RELEASE").stdout == f"{second}\n"
    assert first["release"] in shop("rollback").stdout
    assert shop.get().split()[0] == first["release"]
    assert "rollback" in shop("audit").stdout
    shop("lock", "acquire", "--why", "a feast")
    assert "a feast" in shop.fails("deploy")
    shop("lock", "release")
    shop.settled()
    # 4. Prune.
    for _ in range(2):
        shop.deploy()
    shop.settled()
    assert second in shop.left()
    shop("prune", "--keep", "2")
    assert second not in shop("releases").stdout
    shop.deploy()
    shop.settled()
    assert second not in shop.left()  # its unit, too
    assert shop.inode() == inode
    # 5. Down leaves the data.
    shop.host.write("/srv/shop/shared/orders", "1")
    assert "Would remove" in shop("down", "-n").stdout
    assert shop.get()
    assert "Removed shop" in shop("down", "--yes").stdout
    assert shop.inode() == 0
    assert shop.host.read("/srv/shop/shared/orders") == "1"
    assert shop.left() == "/srv/shop\nshop:x" + shop.left().partition("shop:x")[2]
    assert "Already down" in shop("down", "--yes").stdout
    # 6. Up again finds it; `down --data` removes it.
    shop("up")
    assert shop.get()
    assert shop.host.read("/srv/shop/shared/orders") == "1"


def test_a_first_release_that_fails_leaves_nothing_open(shop: Shop) -> None:
    """Invariant 3: without a release that serves nothing listens, nothing starts again, and the next up finishes."""
    shop.write(app="raise SystemExit('no settings')")
    said = shop.fails("up")
    assert "no settings" in said
    assert "no release serves" in said
    assert shop.inode() == 0
    assert shop.status()["instances"] == []
    shop.write(text="better")
    shop("up")
    assert shop.get().endswith("better")


def test_an_address_that_is_taken_is_nobodys_release(shop: Shop) -> None:
    """Invariants 3 and 8: without its socket nothing is started, and the error names who has the address."""
    # A server that finds no socket binds an address of its own, 8000: it must never come to that.
    taken = Shop(shop.host, "shop", 9000)
    taken.write()
    squatter = shop.host.popen("python3", "-m", "http.server", "--bind", "127.0.0.1", "9000")
    try:
        squatted = wait_until(taken.inode)
        assert "127.0.0.1:9000 is in use by pid" in taken.fails("up")
        assert taken.inode() == squatted
        assert taken.status()["instances"] == []
    finally:
        squatter.kill()
        squatter.communicate(timeout=30)
    taken("up")
    assert taken.get()


def test_an_address_of_another_app_is_refused_naming_both(shop: Shop) -> None:
    """Invariant 8: two apps, staging and production say, cannot hold one address; the one that has it goes on."""
    shop("up")
    other = Shop(shop.host, "other", shop.port)
    other.write()
    said = other.fails("up")
    assert f"127.0.0.1:{shop.port} for other" in said
    assert "shop holds it already (/etc/systemd/system/shop.socket)" in said
    assert "give other or shop another `listen`" in said
    assert other.left() == ""
    assert shop.get()


def test_an_up_that_is_killed_is_finished_by_the_next(shop: Shop) -> None:
    """Invariant 5: killed at any moment, nothing serves before the first commit, nothing starts by itself."""
    shop.write(boot=0.4)
    chance = random.Random(20)  # noqa: S311 -- of moments
    for _ in range(5):
        up = shop.popen("up")
        after = chance.uniform(0.1, 2.5)
        time.sleep(after)  # the moment of the kill is what varies, nothing is waited for
        up.kill()
        up.communicate(timeout=30)
        found = shop.status()
        if found["current"] is None and not any(one["ready"] for one in found["instances"]):
            wait_until(lambda: shop.inode() == 0 and not shop.status()["instances"], 20, f"killed after {after:.2f} s")
        shop("up")
        assert shop.get()
        shop.remove()


def test_down_can_be_repeated_where_only_systemd_may(shop: Shop) -> None:
    """Invariant 7: also for an app that no embedded supervisor is to have."""
    shop.write(config='manager = "systemd"')
    assert "Already down" in shop("down", "--yes").stdout
    shop("up")
    assert "down --data" in shop("down", "--yes").stdout
    assert "Already down" in shop("down", "--yes").stdout
    assert "Removed shop" in shop("down", "--data", "--yes").stdout
    assert shop.left() == ""


def test_a_path_without_the_administrators_programs_is_enough(shop: Shop) -> None:
    """`su` without `-` leaves root the path of whoever called it; accounts come and go all the same."""
    path = {"PATH": "/usr/bin:/bin"}
    shop.write()
    shop.host.run(*GAPLESS, "up", cwd=shop.project, env=path)
    assert shop.get()
    shop.host.run(*GAPLESS, "down", "--data", "--yes", cwd=shop.project, env=path)
    assert shop.left() == ""


def test_only_root_installs_for_the_machine(shop: Shop) -> None:
    """Invariant 8: an ordinary user is told so, and nothing is half-made."""

    def refused(verb: str) -> None:
        done = shop.host.gapless(verb, cwd=shop.project, user="nobody", check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "only root may" in done.stderr
        assert "sudo" in done.stderr

    refused("up")
    assert shop.left() == ""
    shop.host.run("mkdir", "--mode=700", "/opt/closed")
    done = shop.host.gapless("status", "-C", "/opt/closed/x", user="nobody", check=False)
    assert done.stderr.startswith("Error: cannot look for gapless.toml: Permission denied (/opt/closed/x")
    shop("up")
    for verb in ("deploy", "rollback", "down"):
        refused(verb)
    assert shop.host.gapless("status", cwd=shop.project, user="nobody").stdout.startswith("shop on 127.0.0.1:8000")


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("/etc/systemd/system/shop.socket", "/etc/systemd/system/shop.socket is not gapless's"),
        ("/srv/shop/index.html", "/srv/shop is there, and not gapless's"),
        ("/etc/systemd/system/shop@.service", "/etc/systemd/system/shop@.service is not gapless's"),
        ("/lib/systemd/system/shop.socket", "/lib/systemd/system/shop.socket is not gapless's"),
    ],
)
def test_what_others_made_stays_theirs(shop: Shop, path: str, cause: str) -> None:
    """Invariant 8: a unit or a directory of the same name is refused, by name, and not touched."""
    shop.host.write(path, "[Socket]\nListenStream=127.0.0.1:9999\n")
    assert cause in shop.fails("up")
    assert "9999" in shop.host.read(path)
    done = shop("down", "--data", "--yes", check=False)
    assert "Already down" in done.stdout or cause in done.stderr
    assert "9999" in shop.host.read(path)
    shop.host.run("sh", "-c", 'rm "$1"; rmdir /srv/shop || :', "sh", path)


def test_no_app_runs_as_the_superuser(host: Host) -> None:
    """Invariant 8: a name that is that of root would make the app root."""
    shop = Shop(host, "root", 8000)
    shop.write()
    assert "the app would run as the superuser" in shop.fails("up")


def test_a_new_address_closes_the_old_one_only_when_told(shop: Shop) -> None:
    """Invariant 1: up refuses it with the reason, and every other setting needs no gap."""
    shop("up")
    inode = shop.inode()
    # 1. Settings that a release brings along.
    with visits(shop) as seen:
        shop.write(text="settings", linger="2s", config='env = { COLOUR = "blue" }\nsandbox = { network = "local" }')
        release = shop.deploy()
        shop.settled()
    assert seen.losses == []
    assert shop.inode() == inode
    unit = f"shop@{release}.service"
    assert "GAPLESS_LINGER=2.0" in shop.show(unit, "Environment")
    assert shop.host.read(f"/srv/shop/env/{release}.env") == 'COLOUR="blue"\n'
    assert shop.show(unit, "IPAddressAllow")
    # 2. The address: refused, and done when told.
    moved = Shop(shop.host, "shop", 8001)
    moved.write(text="moved")
    said = moved.fails("up")
    assert "it listens on 127.0.0.1:8000, and gapless.toml says 127.0.0.1:8001" in said
    assert "--close-socket" in said
    assert shop.inode() == inode
    assert "stays open" in moved("deploy").stderr
    assert shop.get().endswith("moved")
    moved("up", "--close-socket")
    assert moved.get().endswith("moved")
    assert shop.inode() == 0
    assert moved("up").stdout == "Already up: nothing to change.\n"


def test_visitors_come_in_over_ipv4_and_ipv6(shop: Shop) -> None:
    """Invariant 1: a server that may take one socket alone gets one, and that is said; `gapless serve` gets both."""
    file = f"{shop.project}/gapless.toml"
    config = shop.host.read(file).replace("127.0.0.1:8000", "[::]:8000")
    shop.host.write(file, config.replace("gapless serve", f"{sys.executable} -m gapless serve"))
    assert "nobody listens on 0.0.0.0:8000: `gapless doctor` says why" in shop("up").stderr
    assert "nobody listens on 0.0.0.0:8000" in wrong(shop)["listen"]["what"]
    shop.host.write(file, config)
    assert shop("up").stderr == ""  # nothing is closed for one address more
    held = _listening(shop)
    shop.deploy()
    assert shop.status()["listen"] == ["[::]:8000", "0.0.0.0:8000"]
    for host in ("127.0.0.1", "::1"):
        assert shop.host.inside(lambda host=host: get((host, 8000)))[0] == 200  # type: ignore[misc]
    assert _listening(shop) == held
    assert wrong(shop) == {}
    assert shop("up").stdout == "Already up: nothing to change.\n"


def _listening(shop: Shop) -> set[str]:
    """The inodes of its two sockets."""
    found = set(re.findall(r"ino:(\d+)", shop.host.run("ss", "-Hltne", f"sport = :{shop.port}").stdout))
    assert len(found) == 2
    return found


def test_an_ordinary_user_has_an_app_of_their_own(host: Host) -> None:
    """up --user needs no root, and all verbs find the app then; it says what is to be when its user logs out."""
    host.run("useradd", "--create-home", "--user-group", "keeper")
    shop = Shop(host, "stall", 8010, user="keeper")
    shop.write()
    starts = hint(shop.fails("up", "--user")).split("`")[1]
    uid = host.run("id", "-u", "keeper").stdout.strip()
    host.run("systemctl", "start", f"user@{uid}.service")  # as a login does
    warned = shop("up", "--user").stderr
    assert "keeper's systemd manager ends at log-out and stall with it" in warned
    assert f"every request is refused then; `{starts}` lets it stay" in warned
    host.run("sh", "-c", starts.removeprefix("sudo "))  # as root
    first = shop.live()
    assert shop.get().split()[0] == first["release"]
    assert host.run("stat", "--format=%U", f"/proc/{first['pid']}").stdout == "keeper\n"
    again = shop("up", "--user")
    assert (again.stdout, again.stderr) == ("Already up: nothing to change.\n", "")
    inode = shop.inode()
    shop.write(text="second", app=OWN)
    shop.deploy()
    assert shop.get().endswith("second")
    assert shop.inode() == inode
    assert "good evening" in shop("logs").stdout
    shop("rollback")
    assert shop.get().split()[0] == first["release"]
    shop.settled()
    assert host.run("ls", f"/run/user/{uid}/gapless/stall.runtime").stdout.split() == [first["release"]]
    shop("pause", "--at-most", "8s")
    assert shop.status()["paused"]
    assert shop.get().split()[0] == first["release"]  # their manager's own timer has ended it
    assert shop.status()["paused"] is None
    _from_without_a_session(shop)
    _as_root(shop)
    shop("down", "--data", "--yes")
    assert shop.inode() == 0
    assert shop.left() == ""
    places = ("/home/keeper/.config", "/home/keeper/.local", f"/run/user/{uid}")
    assert host.run("find", *places, "-name", "stall*").stdout == ""


def _from_without_a_session(shop: Shop) -> None:
    """What cron and sudo leave of a session, nothing, and what su does, another user's."""
    run = partial(shop.host.run, cwd=shop.project, user=shop.user)
    done = run("env", "-u", "XDG_RUNTIME_DIR", *GAPLESS, "pause", "--at-most", "1s")
    assert "Paused until" in done.stdout
    assert shop.get()  # systemd-run, too, has found the manager, whose timer ends it
    others = {"XDG_RUNTIME_DIR": "/run/user/0", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/0/bus"}
    done = run("env", *(f"{name}={value}" for name, value in others.items()), *GAPLESS, "deploy", "--json")
    assert json.loads(done.stdout)["release"] in shop.get()
    shop.settled()


def _as_root(shop: Shop) -> None:
    """Root is told whose it is, and what the same is as that user; nothing of root's is made."""
    serves = shop.get()
    for verb in (["deploy"], ["up"]):
        done = shop.host.gapless(*verb, cwd=shop.project, check=False)
        assert done.returncode == 1
        assert "it is keeper's, whose own systemd manager runs it" in done.stderr
    said = shop.host.run("sh", "-c", hint(done.stderr), cwd=shop.project).stdout
    assert said == "Already up: nothing to change.\n"  # with --user
    assert shop.host.run("test", "-e", f"{shop.project}/.gapless", check=False).returncode == 1
    assert shop.get() == serves
