"""What a command prints after `Try:` on a host, followed in that state, mends it or does no harm."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.host.advice import doctor, follow, hint, wrong
from tests.host.host import Host
from tests.host.life import Shop, app_up, leaving_nothing, visits
from tests.support import wait_until

UNITS = "/etc/systemd/system"
WRITES = """
import http.server, os, socket

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            open(os.path.expandvars("WHERE"), "a").close()
            self.send_response(200)
        except OSError:
            self.send_response(500)
        self.end_headers()

    def log_message(self, *what):
        pass

server = http.server.HTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
    manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
server.serve_forever()
"""


@pytest.fixture
def new(host: Host) -> Iterator[Shop]:
    """An app that is not up yet; nothing of it is left afterwards."""
    with leaving_nothing(Shop(host, "bakery", 8002)) as one:
        one.write(config='manager = "systemd"')
        yield one


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app with two releases, that each test leaves whole."""
    with app_up(host) as one:
        one.deploy()
        one.settled()
        yield one


# In the way of the first `up`: what puts it there, what the advice leaves to do.


def test_a_command_before_up(new: Shop) -> None:
    """It names the command that installs the app, and that works."""
    follow(new, hint(new.fails("deploy")))
    assert new.get()


@pytest.mark.parametrize("verb", [["logs"], ["exec", "true"]])
def test_before_the_first_release(new: Shop, verb: list[str]) -> None:
    """After a failed first deploy there is nothing to show yet; the advice makes the first release."""
    new.write(app="raise SystemExit('no settings')")
    said = new.fails("up")
    assert "no settings" in follow(new, hint(said))
    said = new.fails(*verb)
    new.write()
    follow(new, hint(said))
    new(*verb)


FOREIGN = {
    "a unit": (f"printf '[Socket]\\nListenStream=9\\n' > {UNITS}/bakery.socket", f"rm {UNITS}/bakery.socket"),
    "a directory": ("mkdir -p /srv/bakery/photos", "mv /srv/bakery /srv/photos; rm -r /srv/photos"),
    "another app's address": ("", "sed -i 's/:8002/:8003/' /opt/gapless-tests/bakery/gapless.toml"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_in_the_way_of_up(new: Shop, shop: Shop, what: str) -> None:
    """The advice says what to move, or to choose; then it works, and the other is as it was."""
    put, move = FOREIGN[what]
    if put:
        new.host.run("sh", "-c", f"{put}; systemctl daemon-reload")
    else:
        new.host.run("sed", "-i", "s/:8002/:8000/", f"{new.project}/gapless.toml")
    said = hint(new.fails("up"))
    assert re.match("choose another `name`, or (remove|move)|give bakery or shop another `listen`", said)
    if not put:
        new.host.run("sed", "-i", "s/:8000/:8002/", f"{new.project}/gapless.toml")
    new.host.run("sh", "-c", f"{move}; systemctl daemon-reload")
    new("up")
    assert shop.get()


def test_a_user_of_the_name(new: Shop) -> None:
    """The advice lets that user run the app."""
    new.host.run("useradd", "--system", "bakery")
    said = hint(new.fails("up"))
    assert "`gapless up --existing-user`" in said
    new("up", "--existing-user")
    assert new.get()
    new("down", "--data", "--yes")
    new.host.run("userdel", "bakery")
    new("up")


def test_units_that_systemd_does_not_accept(new: Shop) -> None:
    """The command of the advice shows the line; corrected, it is installed."""
    new.write(config='[timers.tidy]\ncommand = "true"\ncalendar = "noon"\n')
    assert "OnCalendar=noon" in follow(new, hint(new.fails("up")))
    new.write(config='[timers.tidy]\ncommand = "true"\ncalendar = "12:00"\n')
    new("up")


def test_a_destination_before_up(new: Shop) -> None:
    """The command of the advice installs that one."""
    new.write()
    over = f"{new.project}/gapless.staging.toml"
    new.host.write(over, 'name = "bakery-staging"\nlisten = "127.0.0.1:8003"\n')
    said = hint(new.fails("deploy", "-d", "staging"))
    follow(new, said)
    new("deploy", "-d", "staging")
    new("down", "-d", "staging", "--data", "--yes")
    new.host.run("rm", over)
    new("up")


def test_an_account_that_somebody_removed(new: Shop) -> None:
    """The command of the advice makes it again, and deploys go on."""
    new("up")
    new.host.run("userdel", "bakery-build")
    said = hint(new.fails("deploy"))
    assert said == "`sudo gapless up` makes the users of an app"
    follow(new, said)
    new.deploy()


# While the app is up.


def test_who_is_not_root(shop: Shop) -> None:
    """The command with sudo is the one that was typed."""
    shop.host.run("cp", "-r", shop.project, "/srv/copy")
    said = shop.host.gapless("prune", cwd="/srv/copy", user="nobody", check=False).stderr
    assert re.fullmatch("sudo .*gapless prune", hint(said))
    shop.host.run("rm", "-r", "/srv/copy")


def test_a_lock(shop: Shop) -> None:
    """A hold is released by its advice; who waits for a deploy gets its turn."""
    shop("lock", "acquire", "--why", "a feast")
    follow(shop, hint(shop.fails("deploy")))
    shop.write(boot=2)
    first = shop.popen("deploy")
    wait_until(lambda: (shop.status()["locked_by"] or {}).get("release"))
    assert "--lock-wait 10m" in hint(shop.fails("prune"))
    shop("prune", "--lock-wait", "10m")
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 0, said
    shop.write()
    shop.settled()


def test_a_lease(shop: Shop) -> None:
    """It goes on with its token alone, ends by its advice, and a token that is over is told how to get the next."""
    first = json.loads(
        shop("lock", "acquire", "--why", "a fleet", "--for", "10m", "--by", "ada@laptop", "--json").stdout
    )
    said = shop.fails("deploy")
    assert "ada@laptop" in said
    shop("deploy", "--lease", first["token"])
    assert json.loads(shop("audit", "--json").stdout)["deploys"][-1]["who"] == "ada@laptop"
    follow(shop, hint(said))
    said = shop.fails("deploy", "--lease", first["token"])
    second = json.loads(follow(shop, hint(said)))
    shop("rollback", "--yes", "--lease", second["token"])
    assert json.loads(shop("lock", "release", "--lease", first["token"], "--json").stdout) == {
        "locked": True,
        "changed": False,
    }
    assert "Released" in shop("lock", "release", "--lease", second["token"]).stdout
    shop.settled()


UNKNOWN = ["20200101T000000Z-0000000"]


@pytest.mark.parametrize(
    ("argv", "advised"),
    [
        (["rollback", *UNKNOWN], "there are: "),
        (["logs", "../../etc/passwd"], "`gapless releases` lists them"),
        (["exec", "--release", *UNKNOWN, "true"], "releases are the directories in /srv/shop/releases"),
    ],
)
def test_a_release_that_is_not_there(shop: Shop, argv: list[str], advised: str) -> None:
    """The advice names those that are."""
    said = hint(shop.fails(*argv))
    assert said.startswith(advised)
    if "`" in said:
        assert shop.current() in follow(shop, said)


def test_no_older_release(shop: Shop) -> None:
    """The advice of a rollback that has nowhere to go: there is a list, and a corrected release can be deployed."""
    current = shop.current()
    while shop("rollback", check=False).returncode == 0:
        shop.settled()
    said = hint(shop.fails("rollback"))
    assert current in follow(shop, said)
    assert "deploy a corrected one instead" in said
    shop.deploy()
    shop.settled()


def test_a_bad_release(shop: Shop) -> None:
    """The advice after a failed deploy shows why it failed, also after more deploys; no rollback goes there."""
    before = shop.current()
    shop.write(app="raise SystemExit('no settings')")
    with visits(shop) as seen:
        said = shop.fails("deploy")
        shown = follow(shop, hint(said))
        assert "no settings" in shown
        bad = next(one["release"] for one in json.loads(shop("releases", "--json").stdout)["releases"])
        said = shop.fails("rollback", bad)
        assert before in follow(shop, hint(said).replace("pick another one; ", ""))
    assert seen.losses == []
    shop.write()


def build(shop: Shop) -> None:
    """Its build fails."""
    shop.write(config='build = { run = "echo so it said; exit 3" }')


def migration(shop: Shop) -> None:
    """Its migration fails."""
    shop.write(config='release = { migrate = "echo so it said; exit 3" }')


@pytest.mark.parametrize("fail", [build, migration], ids=lambda fail: fail.__name__)
def test_a_command_of_a_release_that_fails(shop: Shop, fail: Callable[[Shop], None]) -> None:
    """The file that the advice names has all that it wrote."""
    fail(shop)
    said = hint(shop.fails("deploy"))
    assert "so it said" in shop.host.read(said.rpartition(": ")[2])
    shop.write()


def test_a_rehearsal_that_is_answered_with_an_error(shop: Shop) -> None:
    """Long before its time-out the deploy ends, and names where the app may write; written there, it is deployed."""
    for where, works in (("orders", False), ("$GAPLESS_SHARED/orders", True)):
        shop.write()
        toml = shop.host.read(f"{shop.project}/gapless.toml")
        toml = toml.replace("gapless serve app:app", "python3 server.py").replace('"20s"', '"60s"')
        shop.host.write(f"{shop.project}/gapless.toml", toml)
        shop.host.write(f"{shop.project}/server.py", WRITES.replace("WHERE", where))
        began = time.monotonic()
        done = shop("deploy", check=False)
        assert (done.returncode == 0) is works
        if not works:
            assert time.monotonic() - began < 30
            assert "in its rehearsal GET / answered 500" in done.stderr
            said = "Try:   the app itself failed: its log says more; it may write to $GAPLESS_SHARED alone"
            assert said in done.stderr
    shop.host.run("rm", f"{shop.project}/server.py")
    shop.write()
    shop.deploy()
    shop.settled()


# What doctor finds, beyond the other tests of it.


DAMAGES = {
    "shared": "rm -r /srv/shop/shared",
    "installation": f"rm -r /srv/shop/log; sed -i s/=4096/=9/ {UNITS}/shop.socket; systemctl daemon-reload",
    "temporaries": f"touch {UNITS}/.shop.socket.gapless-1 /srv/shop/env/.20200101T000000Z-x-1",
    "releases": "mkdir /srv/shop/releases/.removing-20200101T000000Z-0000000",
    "socket": "systemctl disable shop.socket",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_doctors_advice(shop: Shop, name: str) -> None:
    """What it advises mends what it found, and nobody notices."""
    pid = shop.live()["pid"]
    with visits(shop) as seen:
        shop.host.run("sh", "-c", DAMAGES[name])
        follow(shop, doctor(shop)[name]["hint"])
        assert wrong(shop) == {}
    assert (seen.losses, shop.live()["pid"]) == ([], pid)


def test_a_socket_that_is_open_before_there_is_a_release(new: Shop) -> None:
    """doctor's advice closes it, and the next boot does not open it; the first deploy does both."""
    new.write(app="raise SystemExit('no settings')")
    new.fails("up")
    new.host.write(f"{UNITS}/bakery.service", "[Service]\nExecStart=/bin/sleep 100\n")
    new.host.run("sh", "-c", "systemctl daemon-reload && systemctl enable --now bakery.socket")
    new.host.run("rm", f"{UNITS}/bakery.service")
    for _ in range(2):
        follow(new, doctor(new)["socket"]["hint"])
    assert new.inode() == 0
    assert doctor(new)["socket"]["state"] == "ok"
    new.write()
    new.deploy()
    assert wrong(new) == {}


def test_a_live_unit_that_does_not_run(shop: Shop) -> None:
    """doctor's advice shows why, and where to go back to."""
    before = shop.current()
    shop.write(app="if os.path.exists(os.environ['GAPLESS_SHARED'] + '/broken'): raise SystemExit('it is broken')")
    bad = shop.deploy()
    shop.host.run("touch", "/srv/shop/shared/broken")
    shop.host.run("kill", "-KILL", str(shop.live()["pid"]))
    found = wait_until(lambda: one if (one := doctor(shop)["live unit"])["state"] == "failed" else None)
    commands = found["hint"].split("`")[1::2]
    assert commands == [f"systemctl status shop@{bad}.service", "gapless logs", "gapless rollback"]
    assert "it is broken" in shop("logs").stdout
    follow(shop, "gapless rollback")
    wait_until(lambda: shop.live()["release"] == before)
    shop.host.run("rm", "/srv/shop/shared/broken")
    shop.write()
    shop.deploy()
    shop.settled()
    assert wrong(shop) == {}


# In the embedded manager, and outside of a project.


def test_outside_of_a_project(host: Host) -> None:
    """`gapless init` makes the directory a project; in one below, -C or cd goes there."""
    host.run("mkdir", "-p", "/opt/gapless-tests/empty")
    one = Shop(host, "empty", 8004)
    follow(one, hint(one.fails("status")).replace("run ", ""))
    assert "MODULE:APP" in host.read(f"{one.project}/gapless.toml")


def test_without_a_supervisor(host: Host) -> None:
    """The advice starts one, which makes the first release."""
    one = Shop(host, "alone", 8005)
    one.write()
    said = hint(one.fails("deploy"))
    assert said == "start it with `gapless run`"
    run = one.popen("run")
    wait_until(lambda: one("status", check=False).returncode == 0, 30)
    assert one.get()
    again = hint(one.fails("run"))
    assert "deploy with `gapless deploy`" in again
    one.deploy()
    host.run("sh", "-c", again.split("`")[3])
    run.communicate(timeout=30)
