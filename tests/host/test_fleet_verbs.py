"""The verbs that ask or act on each host, typed on a laptop: what all answered comes as one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.host import packages
from tests.host.ansible import Playbooks, install_collection, installing, make_bare
from tests.host.host import PROJECT, Host
from tests.host.lan import Lan
from tests.host.laptop import Laptop, OnHost
from tests.host.test_fleet import Fleet
from tests.host.traffic import traffic
from tests.support import wait_until

SITE = """
[proxy]
tls = "off"
domains = ["127.0.0.1"]
[database]
path = "shop.db"
replica = "file:///var/backups/shop"
"""
DATABASE = """
import sqlite3
database = sqlite3.connect(os.environ["GAPLESS_SHARED"] + "/shop.db", isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT)")
"""
BROUGHT = ("Send Caddy", "Send Litestream")
# Its files were taken away, see `make_bare`.
DEBIANS = """
apt-get update -qq
apt-get install -qq --reinstall -o Dpkg::Options::=--force-confmiss caddy > /dev/null
systemctl enable --quiet --now caddy.service
"""
UNATTENDED = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
UP = "PIP_CONSTRAINT={versions} XDG_CACHE_HOME={cache} gapless up"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The command, with the versions of the tests, and what was downloaded for them."""
    folder = tmp_path_factory.mktemp("versions")
    versions = installing(folder)["host_constraints"]
    return UP.format(versions=versions, cache=packages.FOLDER / "cache")


@pytest.fixture(scope="module")
def fleet(host: Host, tmp_path_factory: pytest.TempPathFactory, up: str) -> Iterator[Fleet]:
    """Two hosts that were bare before one `gapless up`."""
    with ExitStack() as stack:
        hosts = {"web1": host, "web2": stack.enter_context(Host())}
        lan = stack.enter_context(Lan())
        laptop = Laptop.of(lan, tmp_path_factory.mktemp("laptop"), hosts)
        one = Fleet(laptop, {name: OnHost(each, "shop", 8000) for name, each in hosts.items()})
        for each in hosts.values():
            make_bare(each)
            each.run("rm", "/etc/ssh/sshd_config.d/gapless.conf")  # what is on this machine is not to be found there
            each.run("systemctl", "restart", "ssh.service")
        one.write()
        laptop.commit("one")
        one.said = laptop(f"{up} -n").stdout + laptop(up).stdout
        yield one
        for shop in one.shops.values():
            shop.remove()
            assert shop.left() == ""


def test_bare_hosts_become_some_that_answer(fleet: Fleet) -> None:
    """One command brings gapless, the app's settings and the first release, and says so; -n only tells."""
    assert fleet.texts() == {"web1": "one", "web2": "one"}
    assert fleet.said.count("Make /etc/gapless/shop.") == 2
    for name, shop in fleet.shops.items():
        assert f"{name}:\n" in fleet.said
        assert f"{name} is up" in fleet.said
        assert shop.host.run("readlink", "/usr/local/bin/gapless").stdout.startswith("/opt/gapless/")


def test_hosts_that_are_up_already(fleet: Fleet, up: str) -> None:
    """Invariant 7: nothing changes; a host that is not reached is named, and is for another time."""
    laptop = fleet.laptop
    with fleet.cut("web2"):
        document = laptop.json(f"{up} --json", check=False)
    first, second = document["hosts"]
    assert (first["state"], first["prepared"], first["changed"], first["deployed"]) == ("up", [], [], None)
    assert second["state"] == "unreachable"
    assert "web2: unreachable" in document["error"]["cause"]
    assert "already up" in laptop(f"{up} -H web2").stdout


def test_a_host_that_dies_while_it_is_prepared(fleet: Fleet, up: str) -> None:
    """It is given up when nothing was heard of it for 15 seconds, and named; the others are up."""
    laptop = fleet.laptop
    laptop.connections()
    log = laptop.checkout.parent / "ssh.log"
    with laptop.popen(f"env {up} --json") as command:
        wait_until(lambda: log.read_text().count(" web2 ") > 1, 30, "a host that is being prepared")
        with fleet.cut("web2"):
            document = json.loads(command.communicate(timeout=60)[0])
    assert [one["state"] for one in document["hosts"]] == ["up", "unreachable"]
    assert "web2: unreachable" in document["error"]["cause"]


def test_logs_of_all_hosts(fleet: Fleet) -> None:
    """Each line has its host before it, with --json each host its lines; -f goes on with what comes."""
    laptop = fleet.laptop
    document = laptop.json("gapless logs --lines 5 --json")
    assert [one["host"] for one in document["hosts"]] == ["web1", "web2"]
    assert all(one["lines"] and one["release"] for one in document["hosts"])
    lines = laptop("gapless logs --lines 2 --since '2026-01-01 10:00'").stdout.splitlines()
    assert [line.partition(" | ")[0] for line in lines] == ["web1", "web1", "web2", "web2"]
    shop = fleet.shops["web2"]
    following = laptop.popen("gapless logs -f --lines 1")
    try:
        assert {_host(following), _host(following)} == {"web1", "web2"}
        shop.host.run("systemctl", "restart", f"shop@{shop.current()}.service")
        assert _host(following) == "web2"
    finally:
        following.terminate()
        following.communicate(timeout=30)
    shop.settled()


def _host(following: subprocess.Popen[str]) -> str:
    """The host of the next line."""
    assert following.stdout is not None
    return following.stdout.readline().partition(" | ")[0]


@pytest.mark.parametrize(("verb", "number"), [("status", signal.SIGTERM), ("logs -f", signal.SIGHUP)])
def test_a_signal_ends_all_that_reaches_hosts(fleet: Fleet, verb: str, number: int) -> None:
    """As Ctrl-C does: no connection as root is left, no Ansible, and no folder."""
    with tempfile.TemporaryDirectory() as folder:
        with fleet.laptop.popen(f"env TMPDIR={folder} gapless {verb}") as command:
            wait_until(lambda: "ssh" in _with(folder), 30, "a connection")
            command.send_signal(number)
            said, _ = command.communicate(timeout=30)
        assert (_with(folder), [*Path(folder).iterdir()]) == ([], [])
    assert command.returncode == 130, said


def _with(folder: str) -> list[str]:
    """The programs that were started to have their temporary files in this folder."""
    found = list[str]()
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if folder.encode() in (one / "environ").read_bytes() + (one / "cmdline").read_bytes():
                found.append((one / "comm").read_text().strip())
    return found


def test_a_command_on_all_hosts(fleet: Fleet) -> None:
    """What it wrote has the host before it; the greatest exit status is that of `gapless exec`."""
    laptop = fleet.laptop
    said = laptop(
        "gapless exec -- sh -c 'hostname > /dev/null; echo $GAPLESS_RELEASE; echo oops >&2; exit 3'", check=False
    )
    assert said.returncode == 3
    assert said.stdout.splitlines() == [f"{name} | {shop.current()}" for name, shop in fleet.shops.items()]
    assert said.stderr.count("| oops") == 2
    document = laptop.json("gapless exec --json -H web2 -- echo 'a b'")
    assert document["hosts"] == [{"host": "web2", "status": 0, "output": "a b\n", "errors": "", "error": None}]


def test_findings_of_all_hosts(fleet: Fleet) -> None:
    """What is wrong on one host is told under its name, and fails the command."""
    laptop = fleet.laptop
    document = laptop.json("gapless doctor --json")
    assert document["healthy"]
    assert [(one["host"], one["healthy"]) for one in document["hosts"]] == [("web1", True), ("web2", True)]
    host = fleet.shops["web2"].host
    host.run("systemctl", "disable", "--quiet", "shop.socket")
    said = laptop("gapless doctor -q", check=False)
    host.run("systemctl", "enable", "--quiet", "shop.socket")
    assert said.returncode == 1
    assert "web2:" in said.stdout


def test_a_lease_over_all_hosts(fleet: Fleet) -> None:
    """Invariant 2: all hosts are held or none; whoever is refused reads by whom; the one token ends all of it."""
    laptop = fleet.laptop
    token = laptop("gapless lock acquire --why 'the database moves' --for 10m --by ann@desk").stdout.strip()
    document = laptop.json("gapless lock status --json")
    assert document["locked"]
    assert [one["holder"]["who"] for one in document["hosts"]] == ["ann@desk", "ann@desk"]
    laptop.commit("in the lease")
    refused = laptop("gapless deploy", check=False)
    assert refused.returncode == 75
    assert "the database moves" in refused.stderr
    laptop(f"gapless deploy --lease {token}")
    assert fleet.texts() == {"web1": "in the lease", "web2": "in the lease"}
    assert laptop.json("gapless lock status --json")["locked"]
    laptop(f"gapless lock release --lease {token}")
    assert not laptop.json("gapless lock status --json")["locked"]
    fleet.shops["web2"]("lock", "acquire", "--why", "a disk is changed")
    refused = laptop("gapless lock acquire --why mine --for 10m", check=False)
    assert refused.returncode == 75
    assert "a disk is changed" in refused.stderr
    assert fleet.shops["web1"].status()["locked_by"] is None
    alone = laptop("gapless lock acquire --why mine --for 10m -H web1").stdout.strip()
    laptop(f"gapless lock release -H web1 --lease {alone}")
    assert "web2 | Released." in laptop("gapless lock release").stdout


def test_deploys_of_all_hosts_by_time(fleet: Fleet) -> None:
    """One list has the deploys of all hosts, each with its host."""
    deploys = fleet.laptop.json("gapless audit --json")["deploys"]
    assert {one["host"] for one in deploys} == {"web1", "web2"}
    assert [one["when"] for one in deploys] == sorted(one["when"] for one in deploys)
    assert "HOST" in fleet.laptop("gapless audit").stdout


def test_a_host_that_does_not_answer(fleet: Fleet) -> None:
    """The others answer; it is named, and fails the command."""
    with fleet.cut("web2"):
        said = fleet.laptop("gapless audit --json", check=False)
    document = json.loads(said.stdout)
    assert said.returncode == 1
    assert [one["host"] for one in document["hosts"] if one["error"]] == ["web2"]
    assert {one["host"] for one in document["deploys"]} == {"web1"}


def _id(shop: OnHost) -> str:
    """Of what the host's current release was made of."""
    found = json.loads(shop("releases", "--json").stdout)
    return str(next(one["id"] for one in found["releases"] if one["release"] == found["current"]))


def test_waves_by_the_roles_alone(fleet: Fleet, tmp_path: Path) -> None:
    """Invariant 3: a play of docs/ansible.md brings an artifact to all hosts; if one refuses it, no other gets it."""
    laptop, page = fleet.laptop, (PROJECT / "docs" / "ansible.md").read_text()
    [text] = re.findall(r"^```yml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    [(pack, playbook)] = re.findall(r"^    (gapless pack .*)\n    (ansible-playbook .*)$", page, re.MULTILINE)
    site = tmp_path / "site.yml"
    site.write_text(text)
    assert playbook.split()[:4] == ["ansible-playbook", "-i", "hosts.ini", "site.yml"]
    play = Playbooks(laptop.lan, install_collection(tmp_path), {"app_name": "shop"})
    source = playbook.rpartition(" ")[2].replace("$PWD", str(laptop.checkout))
    try:
        laptop.commit("by roles")
        laptop(pack)
        _, changed = play(str(site), "-e", source)
        assert changed == {"web1": 1, "web2": 1}
        assert {_id(shop) for shop in fleet.shops.values()} == {laptop.id()}
        assert fleet.texts() == {"web1": "by roles", "web2": "by roles"}
        laptop.commit("refused", more="raise SystemExit('not today')")
        laptop(pack)
        said, _ = play(str(site), "-e", source, ok=False)
    finally:
        play.close()
        laptop("rm ../shop.artifact")
    assert "not today" in said
    assert fleet.texts() == {"web1": "by roles", "web2": "by roles"}
    assert [shop("audit", "--json").stdout.count('"failed"') > 0 for shop in fleet.shops.values()] == [True, False]


def test_the_commands_of_from_one_server_to_five(fleet: Fleet, up: str) -> None:
    """Every command of docs/five.md succeeds, in order; its sixth host is one that has lost all but its name."""
    page = (PROJECT / "docs" / "five.md").read_text()
    blocks = re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    laptop = fleet.laptop
    for number, line in enumerate(lines):
        if line == "gapless deploy":
            laptop.commit(f"of the page's line {number}")
        if line == "gapless up -H web6.example.com":
            fleet.shops["web2"].remove()
        laptop(re.sub("^gapless up", up, line.replace("web6.example.com", "web2")))
    assert len(lines) == 15
    assert len({*fleet.texts().values()}) == 1


def test_hosts_get_a_site_and_a_database(fleet: Fleet, up: str) -> None:
    """Invariant 7: Caddy and Litestream come where they are missing, and once; invariant 1: a deploy loses no visitor.

    Each host answers through its own Caddy; that of web2 is Debian's, and stays.
    """
    laptop, hosts = fleet.laptop, {name: shop.host for name, shop in fleet.shops.items()}
    for shop in fleet.shops.values():
        shop.remove()
    hosts["web2"].run("sh", "-ec", DEBIANS, env=UNATTENDED, timeout=180)
    fleet.write(config=SITE)
    laptop.commit("a site", more=DATABASE)
    told = laptop(f"{up} -n").stdout
    assert (told.count("Send Caddy."), told.count("Send Litestream.")) == (1, 2)
    first, again = laptop.json(f"{up} --json")["hosts"], laptop.json(f"{up} --json")["hosts"]
    assert [[word in one["prepared"] for word in BROUGHT] for one in first] == [[True, True], [False, True]]
    assert [(one["state"], one["prepared"], one["changed"]) for one in again] == [("up", [], []), ("up", [], [])]
    with ExitStack() as stack:
        visitors = [stack.enter_context(traffic(host, 80)) for host in hosts.values()]
        for each in visitors:
            each.flows()
        laptop.commit("its second release", more=DATABASE)
        laptop("gapless deploy")
        for each in visitors:
            each.flows()
    assert [each.lost for each in visitors] == [[], []]
    assert [len(each.releases) for each in visitors] == [2, 2]
    answers = {name: host.get(80)[2].decode() for name, host in hosts.items()}
    assert all(answer.endswith("its second release") for answer in answers.values())
    wait_until(lambda: {_lag(shop) for shop in fleet.shops.values()} == {0}, 60, "the replicas have all of it")
    found = laptop.json("gapless doctor --json", check=False)["hosts"]
    assert [one for host in found for one in host["findings"] if one["state"] == "failed"] == []


def _lag(shop: OnHost) -> float | None:
    """Seconds by which the replica of the host's database is behind."""
    lag: float | None = json.loads(shop("database", "status", "--json").stdout)["lag_seconds"]
    return lag
