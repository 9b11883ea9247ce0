"""gapless doctor on a real host: each thing is broken, found, and mended by what the hint says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.host import Host
from tests.host.life import insist
from tests.support import wait_until

SHOP = "/root/shop"
UNITS = "/etc/systemd/system"
APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""
CONFIG = """
name = "shop"
manager = "systemd"
command = "gapless serve app:app"
listen = "127.0.0.1:8000"
[drain]
linger = 1
"""


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Host]:
    host.write(f"{SHOP}/app.py", APP)
    host.write(f"{SHOP}/gapless.toml", CONFIG)
    host.gapless("up", cwd=SHOP)
    yield host
    host.gapless("down", "--data", "-y", cwd=SHOP)


def doctor(host: Host, user: str = "") -> dict[str, tuple[str, str, str]]:
    """State, sentence and hint of every check, by its name; the exit status is as the states are."""
    done = host.gapless("doctor", "--json", "-C", SHOP, user=user, check=False)
    document = json.loads(done.stdout)
    found = {one["name"]: (one["state"], one["what"], one["hint"]) for one in document["findings"]}
    failed = any(state == "failed" for state, _, _ in found.values())
    assert document["healthy"] is not failed
    assert done.returncode == (1 if failed else 0), done.stderr
    return found


def problems(host: Host) -> dict[str, tuple[str, str, str]]:
    """What is wrong; the clock is the machine's own, not ours to set."""
    return {name: one for name, one in doctor(host).items() if one[0] in ("failed", "warning") and name != "clock"}


def mend(host: Host, hint: str) -> None:
    """Do what a hint says, word for word: a command line."""
    gapless = f"{sys.executable} -m gapless"
    host.run("sh", "-c", hint.replace("gapless ", f"{gapless} ", 1) if hint.startswith("gapless ") else hint, cwd=SHOP)


def release(host: Host) -> str:
    return Path(host.run("readlink", "/srv/shop/current").stdout.strip()).name


def test_a_fresh_installation_is_healthy(shop: Host) -> None:
    """After `gapless up` nothing is wrong, each check has seen what it looks at, and -q says nothing."""
    found = doctor(shop)
    assert problems(shop) == {}
    somaxconn = int(shop.read("/proc/sys/net/core/somaxconn"))
    assert f"the listening socket has {min(4096, somaxconn)}" in found["backlog"][1]
    assert {name for name, one in found.items() if one[0] == "unknown"} <= {"clock"}
    assert set(found) >= {"systemd", "installation", "socket", "socket settings", "live unit", "service settings"}
    assert set(found) >= {"disk", "shared", "command", "programs", "releases", "temporaries", "instances", "unit files"}


@pytest.mark.parametrize(
    ("unit", "setting", "check"),
    [
        ("shop@.service", "[Service]\nNonBlocking=no", "service settings"),
        ("shop@.service", "[Unit]\nStartLimitIntervalSec=10s", "service settings"),
        ("shop.socket", "[Socket]\nTriggerLimitIntervalSec=2s", "socket settings"),
    ],
)
def test_a_drop_in_that_takes_a_vital_setting_away(shop: Host, unit: str, setting: str, check: str) -> None:
    """Invariant 1: it fails, names the drop-in and what it does; the hint removes it."""
    path = f"{UNITS}/{unit}.d/tuned.conf"
    shop.write(path, f"{setting}\n")
    shop.run("systemctl", "daemon-reload")
    found = problems(shop)
    assert list(found) == [check]
    state, what, hint = found[check]
    assert state == "failed"
    assert path in what
    assert setting.splitlines()[1].partition("=")[0] in what
    mend(shop, hint)
    assert problems(shop) == {}


def test_a_drop_in_that_systemd_has_not_read_yet(shop: Host) -> None:
    """What takes effect at the next daemon-reload is found before it does; a harmless one is then fine."""
    shop.write(f"{UNITS}/shop.socket.d/tuned.conf", "[Unit]\nDescription=Tuned\n")
    found = problems(shop)
    assert list(found) == ["socket settings"]
    mend(shop, found["socket settings"][2])
    assert problems(shop) == {}
    assert "tuned.conf" in doctor(shop)["socket settings"][1]
    shop.run("rm", f"{UNITS}/shop.socket.d/tuned.conf")
    shop.run("systemctl", "daemon-reload")


def test_a_changed_socket_unit(shop: Host) -> None:
    """An installed socket unit that is not the one of gapless.toml is found, and `gapless up` writes it again."""
    shop.run("sed", "-i", "s/Backlog=4096/Backlog=100/", f"{UNITS}/shop.socket")
    shop.run("systemctl", "daemon-reload")
    found = problems(shop)
    assert list(found) == ["installation"]
    mend(shop, found["installation"][2])
    assert problems(shop) == {}


def test_a_socket_that_will_not_be_there_after_a_boot(shop: Host) -> None:
    """A disabled socket unit fails, and so does a stopped one; the hints enable and start it."""
    shop.run("systemctl", "disable", "shop.socket")
    found = problems(shop)
    assert set(found) == {"socket", "installation"}
    mend(shop, found["socket"][2])
    assert problems(shop) == {}
    insist(shop, "stop", "shop.socket", f"shop@{release(shop)}.service")
    found = problems(shop)
    assert set(found) == {"socket", "live unit", "installation"}
    mend(shop, found["socket"][2].split("`")[1])
    wait_until(lambda: problems(shop) == {}, 30)
    assert shop.get(8000)[0] == 200


def test_leftovers(shop: Host) -> None:
    """Unit files of a release that is gone, a half-installed release and a temporary are found and cleared up."""
    stray = f"{UNITS}/shop@20200101T000000Z-gone.service"
    half = "/srv/shop/releases/.incoming-20200101T000000Z-half"
    temporary = f"{UNITS}/.shop.socket.gapless-4711"
    for path in (stray, f"{half}/app.py", temporary):
        shop.write(path, "")
    found = problems(shop)
    assert set(found) == {"unit files", "releases", "temporaries"}
    assert stray in found["unit files"][1]
    assert half in found["releases"][1]
    assert temporary in found["temporaries"][1]
    mend(shop, found["unit files"][2])
    mend(shop, found["temporaries"][2])
    shop.gapless("prune", cwd=SHOP)
    assert problems(shop) == {}
    assert shop.run("test", "-e", half, check=False).returncode == 1


def test_an_instance_that_no_deploy_owns(shop: Host) -> None:
    """Invariant 5: a release beside the live one, which nobody drains, fails; prune, which repairs, ends it."""
    other = "20200101T000000Z-other"
    unit = f"{UNITS}/shop@{other}.service"
    shop.run("cp", "-a", f"/srv/shop/releases/{release(shop)}", f"/srv/shop/releases/{other}")
    shop.run("cp", f"/srv/shop/env/{release(shop)}.toml", f"/srv/shop/env/{other}.toml")
    shop.write(unit, shop.read(f"{UNITS}/shop@{release(shop)}.service").replace(release(shop), other))
    shop.run("systemctl", "start", f"shop@{other}.service")
    found = problems(shop)
    assert set(found) == {"instances", "ledger"}
    assert other in found["instances"][1]
    shop.gapless("prune", cwd=SHOP)
    wait_until(lambda: "instances" not in problems(shop), 30)
    shop.run("systemctl", "stop", f"shop@{other}.service")
    shop.run("rm", "-rf", f"/srv/shop/releases/{other}", f"/srv/shop/env/{other}.toml", unit)
    assert problems(shop) == {}


def test_a_short_queue(shop: Host) -> None:
    """A low somaxconn is a warning; with the limit back, the socket's own short queue is one, until a deploy."""
    if shop.run("test", "-w", "/proc/sys/net/core/somaxconn", check=False).returncode != 0:
        pytest.skip("this machine forbids to set net.core.somaxconn in a network of our own")
    before = shop.read("/proc/sys/net/core/somaxconn").strip()
    shop.run("sysctl", "-qw", "net.core.somaxconn=128")
    shop.gapless("deploy", cwd=SHOP)
    state, what, hint = problems(shop)["backlog"]
    assert state == "warning"
    assert "128" in what
    mend(shop, hint.partition(",")[0])
    assert "128" in problems(shop)["backlog"][1]
    shop.gapless("deploy", cwd=SHOP)
    wait_until(lambda: "backlog" not in problems(shop), 30)
    shop.run("sysctl", "-qw", f"net.core.somaxconn={before}")


@pytest.mark.parametrize(
    ("command", "check", "state", "says"),
    [
        ("uv run gapless serve app:app", "command", "failed", "`uv run` starts the server as a child"),
        ("sh -c 'gapless serve app:app'", "command", "warning", "`sh` may start the server as a child"),
        ("no-such-server app:app", "programs", "failed", "there is no no-such-server"),
        ("./app.py", "programs", "failed", "app.py is not executable"),
        ("/root/tool app:app", "programs", "failed", "/root/tool is hidden from the app"),
    ],
)
def test_a_command_that_cannot_work(shop: Host, command: str, check: str, state: str, says: str) -> None:
    """What would only be seen at the next deploy, or never, is seen before."""
    shop.write("/root/tool", "#!/bin/sh\n", 0o755)
    shop.write(f"{SHOP}/gapless.toml", CONFIG.replace("gapless serve app:app", command))
    found = problems(shop)
    shop.write(f"{SHOP}/gapless.toml", CONFIG)
    assert found[check][0] == state
    assert says in found[check][1]
    assert found[check][2]


def test_shared_data_that_the_app_may_not_write(shop: Host) -> None:
    """A directory that root has taken fails; the hint gives it back."""
    shop.run("chown", "root:root", "/srv/shop/shared")
    found = problems(shop)
    assert list(found) == ["shared"]
    mend(shop, found["shared"][2])
    assert problems(shop) == {}


def test_an_ordinary_user_learns_what_only_root_sees(shop: Host) -> None:
    """Without root nothing fails that is well; what could not be seen is said to be unknown, and how to see it."""
    shop.run("cp", "-r", SHOP, "/srv/seen")
    done = shop.gapless("doctor", "--json", cwd="/srv/seen", user="nobody")
    found = {one["name"]: one for one in json.loads(done.stdout)["findings"]}
    assert {one["state"] for one in found.values()} <= {"ok", "unknown", "warning"}
    assert found["temporaries"]["state"] == "unknown"
    assert found["temporaries"]["hint"] == "run it as root"
    assert "NonBlocking=yes" in found["service settings"]["what"]
    shop.run("rm", "-r", "/srv/seen")


def test_what_people_read(shop: Host) -> None:
    """One line for each check, the hint below what is wrong; -q leaves only that."""
    shop.write(f"{UNITS}/shop@20200101T000000Z-gone.service", "")
    said = shop.gapless("doctor", cwd=SHOP).stdout.splitlines()
    assert "✓ live unit" in "\n".join(said)
    at = next(number for number, line in enumerate(said) if line.startswith("! unit files"))
    assert said[at + 1].startswith("  Try: rm -r ")
    quiet = shop.gapless("doctor", "-q", cwd=SHOP).stdout.splitlines()
    assert [line for line in quiet if "clock" not in line and "set-ntp" not in line] == said[at : at + 2]
    mend(shop, said[at + 1].removeprefix("  Try: "))


def test_a_manager_of_an_ordinary_user_ends_at_log_out(shop: Host) -> None:
    """Under `gapless up --user` a user who does not linger fails; after the hint's command it is well."""
    shop.run("useradd", "--create-home", "--user-group", "baker")
    shop.run("loginctl", "enable-linger", "baker")
    uid = shop.run("id", "-u", "baker").stdout.strip()
    shop.run("systemctl", "start", f"user@{uid}.service")
    shop.write("/home/baker/cake/app.py", APP)
    shop.write("/home/baker/cake/gapless.toml", CONFIG.replace("shop", "cake").replace("8000", "8001"))
    shop.run("chown", "-R", "baker:baker", "/home/baker/cake")
    shop.gapless("up", "--user", cwd="/home/baker/cake", user="baker")

    def found() -> dict[str, dict[str, str]]:
        done = shop.gapless("doctor", "--json", cwd="/home/baker/cake", user="baker", check=False)
        return {one["name"]: one for one in json.loads(done.stdout)["findings"]}

    healthy = found()
    assert [one for one in healthy.values() if one["state"] in ("failed", "warning") and one["name"] != "clock"] == []
    shop.run("rm", "/var/lib/systemd/linger/baker")
    assert found()["linger"]["state"] == "failed"
    shop.run("sh", "-c", found()["linger"]["hint"].removeprefix("sudo "))  # as root
    assert found()["linger"]["state"] == "ok"
    shop.run("sed", "-i", "s/Backlog=4096/Backlog=100/", "/home/baker/.config/systemd/user/cake.socket")
    assert found()["installation"]["hint"] == "gapless up --user"
    shop.gapless("up", "--user", cwd="/home/baker/cake", user="baker")
    assert found()["installation"]["state"] == "ok"
    shop.gapless("down", "--data", "-y", cwd="/home/baker/cake", user="baker")
