"""The collection: from a bare Debian with SSH and Python to deploys that lose nothing, by its playbooks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.host.ansible import Playbooks, install_collection, installing, make_bare
from tests.host.host import PROJECT, Host
from tests.host.lan import Lan
from tests.host.life import APP
from tests.host.traffic import traffic
from tests.support import get, start, wait_until

PORT, STAGING_PORT, PROXY_PORT = 8000, 8001, 80
DIRECTORY = "/etc/gapless/shop"
CONFIG = """
name = "shop"
command = "gapless serve app:app"
listen = "127.0.0.1:8000"
env_file = "shop.env"
check = { path = "/", timeout = "20s" }
drain = { linger = "2s", requests = "5s", streams = "5s" }
"""
STAGING = 'name = "shop-staging"\nlisten = "127.0.0.1:8001"\n'
DOWN = ("/usr/local/bin/gapless", "down", "--data", "--yes", "-d", "staging", "-C", f"{DIRECTORY}-staging")
# Without a retry: what a deploy would lose shows.
CADDYFILE = """
{
	admin unix//run/caddy/admin.sock
}
:80 {
	reverse_proxy 127.0.0.1:8000 {
		transport http {
			keepalive 1s
		}
	}
}
"""
# Every file with its size and time, but for those that Ansible and systemd have for themselves.
LISTING = (
    "find /etc /opt /srv /usr/local /var/lib /root -xdev -path '*/.ansible*' -prune -o -type f -printf '%p %s %T@\\n'"
)


@dataclass
class Site:
    """The app `shop`: its checkout on the controller, and the host that its playbooks make."""

    host: Host
    lan: Lan
    play: Playbooks
    checkout: Path
    said: dict[str, str] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)

    def commit(self, text: str, more: str = "") -> None:
        """Commit the next release, whose answers end with `text`."""
        (self.checkout / "app.py").write_text(APP.format(boot=0, more=more, text=text))
        (self.checkout / "gapless.toml").write_text(CONFIG)
        (self.checkout / "gapless.staging.toml").write_text(STAGING)
        git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(self.checkout))
        for argv in ((*git, "add", "--all"), (*git, "commit", "--quiet", "--message", text)):
            subprocess.run(argv, check=True, timeout=60)

    def gapless(self, *argv: str) -> Any:
        """What the gapless that the playbook installed answers about the app."""
        return json.loads(self.host.run("/usr/local/bin/gapless", *argv, "--json", "-C", DIRECTORY).stdout)

    def current(self) -> str:
        release: str = self.gapless("status")["current"]
        return release

    def answer(self, port: int = PORT) -> str:
        status, _, body = self.host.get(port)
        assert status == 200
        return body.decode()

    def unit(self, unit: str, what: str) -> str:
        return self.host.run("systemctl", "show", "--value", f"--property={what}", unit).stdout.strip()

    def provision(self, name: str, *argv: str) -> None:
        """Run the playbook `provision`, and keep what it says under `name`."""
        self.said[name], changed = self.play("provision", *argv)
        self.changed[name] = changed["web1"]


@pytest.fixture(scope="module")
def site(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A host that was bare: looked at with --check, provisioned, and provisioned again."""
    make_bare(host)
    folder = tmp_path_factory.mktemp("controller")
    checkout = folder / "shop"
    subprocess.run(["git", "init", "--quiet", str(checkout)], check=True, timeout=60)
    variables = {
        **installing(folder),
        "host_timezone": "Europe/Berlin",
        "host_firewall": True,
        "app_name": "shop",
        "app_source": str(checkout),
        "app_files": {"shop.env": "GREETING=hello\n"},
    }
    with Lan() as lan:
        lan.join(host, "web1")
        play = Playbooks(lan, install_collection(folder), variables)
        one = Site(host, lan, play, checkout)
        one.commit("one")
        try:
            before = host.run("sh", "-c", LISTING).stdout
            one.provision("checked", "--check", "--diff")
            one.said["differs"] = "\n".join(
                {*before.splitlines()} ^ {*host.run("sh", "-c", LISTING).stdout.splitlines()}
            )
            one.provision("first")
            one.provision("second")
            host.write("/etc/caddy/Caddyfile", CADDYFILE)
            host.run("systemctl", "reload", "caddy")
            yield one
        finally:
            play.close()


def test_check_mode_on_a_bare_host_shows_all_and_changes_nothing(site: Site) -> None:
    """--check runs to its end where nothing is there yet: it names what is missing, and every file stays as it was."""
    assert site.said["differs"] == ""
    assert "Would install unattended-upgrades" in site.said["checked"]
    assert "+Europe/Berlin" in site.said["checked"]
    assert "+ExecStart=/usr/local/bin/caddy run" in site.said["checked"]
    assert "Deploy, once /usr/local/bin/gapless is there." in site.said["checked"]
    assert site.changed["checked"] > 5


def test_a_bare_host_becomes_one_that_answers(site: Site) -> None:
    """The playbook brings time zone, upgrades, firewall, gapless, Caddy and Litestream, and the app answers."""
    host = site.host
    assert site.answer().endswith("one")
    assert site.answer(PROXY_PORT).endswith("one")
    assert host.run("readlink", "/etc/localtime").stdout.strip().endswith("/Europe/Berlin")
    assert host.run("dpkg-query", "-W", "-f", "${Status}", "unattended-upgrades").stdout == "install ok installed"
    assert "policy drop" in host.run("/usr/sbin/nft", "list", "table", "inet", "gapless").stdout
    assert host.run("systemctl", "is-enabled", "nftables", "caddy").stdout.split() == ["enabled", "enabled"]
    assert "0.5.17" in host.run("/usr/local/bin/litestream", "version").stdout
    assert host.run("ps", "-o", "user=", "-C", "caddy").stdout.split() == ["caddy"]
    assert host.run("stat", "-c", "%a %U", DIRECTORY, f"{DIRECTORY}/shop.env").stdout.split() == [
        "700",
        "root",
        "600",
        "root",
    ]
    assert site.gapless("doctor")["healthy"]


def test_the_socket_is_there_before_the_service(site: Site) -> None:
    """On a bare host the held socket opens before the first release starts, and opens at boot."""
    socket = int(site.unit("shop.socket", "ActiveEnterTimestampMonotonic"))
    service = int(site.unit(f"shop@{site.current()}.service", "ExecMainStartTimestampMonotonic"))
    assert site.unit("shop.socket", "ActiveState") == "active"
    assert site.unit("shop.socket", "UnitFileState") == "enabled"
    assert 0 < socket < service


def test_the_service_starts_by_activation_and_says_so(site: Site) -> None:
    """With the service stopped, the socket stays open, a visitor starts the service, and its journal says how."""
    unit = f"shop@{site.current()}.service"
    site.host.run("systemctl", "stop", unit)
    assert site.unit("shop.socket", "ActiveState") == "active"
    assert site.answer().endswith("one")
    assert site.unit(unit, "ActiveState") == "active"
    assert (
        "listening on 127.0.0.1:8000 (activated: the manager holds it)"
        in site.host.journal(unit).splitlines()[-30:].__str__()
    )


def test_without_activation_the_same_app_serves_for_local_work(site: Site, run: start) -> None:
    """On a developer's machine no manager hands a socket in: the app binds one itself, and says so."""
    gapless = str(Path(sys.executable).with_name("gapless"))
    local = run(
        gapless, "serve", "app:app", "--bind", "127.0.0.1:8731", cwd=site.checkout, env={"GAPLESS_RELEASE": "x"}
    )
    local.says("listening on 127.0.0.1:8731 (not activated")
    local.says("serving")
    assert get(("127.0.0.1", 8731))[2].decode().endswith("one")


def test_a_second_run_changes_nothing(site: Site) -> None:
    """Provisioning again makes no change, and deploys nothing."""
    assert site.changed["first"] > 10
    assert site.changed["second"] == 0, site.said["second"]


def test_check_mode_says_what_a_deploy_would_change(site: Site) -> None:
    """--check names files and variables that differ, never a value, and what is current stays; unchanged, nothing."""
    before = site.current()
    site.commit("changed")
    said, changed = site.play(
        "deploy", "--check", "--diff", "-e", '{"app_files": {"shop.env": "GREETING=secret-word"}}'
    )
    assert changed == {"web1": 1}
    assert f"files: they are not those of {before}" in said
    assert "variable GREETING" in said
    assert "secret-word" not in said
    assert site.current() == before
    subprocess.run(["git", "-C", site.checkout, "reset", "--quiet", "--hard", "HEAD~1"], check=True, timeout=60)
    assert site.play("deploy", "--check")[1] == {"web1": 0}


def test_a_deploy_under_the_monitor_shows_no_502_or_503(site: Site) -> None:
    """Through Caddy without retries, a deploy by the playbook loses no request; the release is the new one."""
    before = site.current()
    site.commit("two")
    url = f"http://127.0.0.1:{PROXY_PORT}"
    probe = site.host.popen("/usr/local/bin/gapless", "probe", url, "--json", "--duration", "10s")
    _, changed = site.play("deploy")
    assert changed == {"web1": 1}
    wait_until(lambda: site.answer(PROXY_PORT).endswith("two"))
    seen = json.loads(probe.communicate(timeout=60)[0])
    assert seen["losses"] == []
    assert seen["requests"] > 300
    assert [one["release"] for one in seen["releases"]] == [before, site.current()]
    assert site.current() != before
    assert site.play("deploy")[1] == {"web1": 0}


def test_a_bad_release_fails_the_play_and_harms_nobody(site: Site) -> None:
    """Invariant 3: the play fails with gapless's own words and the release's last lines; the site answers as before."""
    before = site.current()
    site.commit("bad", more='raise RuntimeError("no such table: orders")')
    with traffic(site.host, PORT) as seen:
        said, _ = site.play("deploy", ok=False)
        seen.flows()
    assert seen.lost == []
    assert seen.releases == {before}
    assert "no such table: orders" in said
    assert re.search(r"Cannot .*: .*\. Try: ", said)
    assert site.current() == before


def test_a_rollback_by_the_playbook(site: Site) -> None:
    """The playbook makes the release before the current one again, losing nothing; --check only says so."""
    releases = site.gapless("releases")
    good = [one["release"] for one in releases["releases"] if one["state"] != "bad"]
    wanted = good[good.index(releases["current"]) + (1 if good[0] > good[-1] else -1)]
    said, changed = site.play("rollback", "--check", "--diff")
    assert changed == {"web1": 1}
    assert f"Make {wanted} the current release" in said
    with traffic(site.host, PORT) as seen:
        assert site.play("rollback")[1] == {"web1": 1}
        seen.flows()
    assert seen.lost == []
    assert site.current() == wanted
    assert site.play("rollback", "-e", f"app_release={wanted}")[1] == {"web1": 0}


def test_the_commands_of_the_page_work(site: Site) -> None:
    """Every command of docs/ansible.md succeeds, in order, on a host that has a good release to go back to."""
    site.commit("page")
    page = (PROJECT / "docs" / "ansible.md").read_text()
    blocks = re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = [
        line.removeprefix("ansible-playbook -i hosts.ini gapless.deploy.")
        for one in blocks
        for line in one.splitlines()
    ]
    assert len(lines) == 6
    for line in lines:
        if line not in ("provision --check --diff", "provision"):  # the host was made by these
            site.play(*line.split())
    site.host.run(*DOWN)


def test_staging_beside_production(site: Site) -> None:
    """Of one checkout two installations serve on one host; `down` of one leaves the other as it is."""
    site.commit("three")
    production = site.current()
    assert site.play("deploy", "-e", "app_destination=staging")[1] == {"web1": 1}
    assert site.answer(STAGING_PORT).endswith("three")
    assert (site.answer().endswith("three"), site.current()) == (False, production)
    assert site.play("deploy", "-e", "app_destination=staging")[1] == {"web1": 0}
    with traffic(site.host, PORT) as seen:
        site.host.run(*DOWN)
        seen.flows()
    assert seen.lost == []
    assert site.current() == production
    assert (
        site.host.run("sh", "-c", "ls -d /srv/shop-staging /etc/systemd/system/shop-staging*", check=False).stdout == ""
    )
    assert site.host.run("getent", "passwd", "shop-staging", check=False).stdout == ""


def test_uploads_and_secrets_come_back_from_a_backup(site: Site) -> None:
    """The page's recipe saves what the app keeps, less its database, and its secrets, and brings back what was lost."""
    page = (PROJECT / "docs" / "ansible.md").read_text()
    save, restore = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    host, shared = site.host, "/srv/shop/shared"
    host.run(
        "sh", "-c", f"mkdir {shared}/uploads && echo cat > {shared}/uploads/cat.jpg && echo rows > {shared}/app.db"
    )
    host.run("chown", "-R", "shop:shop", shared)
    host.run("sh", "-e", "-c", save, timeout=120)
    host.run("sh", "-c", f"cp /etc/gapless/restic-password /root && rm -r {shared}/* /etc/gapless/*")
    host.run("mv", "/root/restic-password", "/etc/gapless")  # kept somewhere else
    host.run("sh", "-e", "-c", restore, timeout=120)
    assert host.read(f"{shared}/uploads/cat.jpg") == "cat\n"
    assert host.run("stat", "-c", "%U", f"{shared}/uploads/cat.jpg").stdout == "shop\n"
    assert host.run("test", "-e", f"{shared}/app.db", check=False).returncode == 1
    assert host.read(f"{DIRECTORY}/shop.env") == "GREETING=hello\n"
