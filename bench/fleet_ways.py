"""Ways to deploy the demo app to every host of a fleet: `gapless deploy`, and a playbook that restarts a service."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from tests.host.ansible import program
from tests.host.fleet import APP, PORT, Fleet
from tests.host.host import Host
from tests.host.life import insist
from tests.support import wait_until

from bench.on_host import keep
from gapless.switch.manager import Role
from gapless.version import VERSION

BOOT = 0.1  # seconds the app takes to start: six of them share the processors of one machine
DRAIN = 60.0  # seconds within which every replaced instance has ended
HOSTS = "[hosts]\nweb = [{hosts}]\n{waves}\n"
STOCK = "/opt/stock"
HEALTH = "http://127.0.0.1:{port}/health"
UNIT = f"""\
[Service]
WorkingDirectory={STOCK}
Environment=DEMO_BOOT={BOOT} GAPLESS_SHARED={STOCK}
EnvironmentFile={STOCK}/release.env
ExecStart=/opt/gapless/{VERSION}/bin/python -m uvicorn app:app --host 0.0.0.0 --port {{port}} --no-access-log \
--header gapless-release:${{{{RELEASE}}}}
[Install]
WantedBy=multi-user.target
"""
# As people write it: one host after the other, and the next when this one answers again.
PLAYBOOK = """\
- hosts: all
  serial: 1
  gather_facts: false
  tasks:
    - ansible.builtin.unarchive:
        src: {archive}
        dest: {stock}
    - ansible.builtin.systemd_service:
        name: stock.service
        state: restarted
    - ansible.builtin.uri:
        url: {health}
      register: answer
      until: answer is succeeded
      retries: 100
      delay: 0.1
"""


class FleetWay(ABC):
    """A way to have the app on all hosts of a fleet; it listens on `port` of each."""

    name: str  # in tables
    port: int
    shared: str  # on a host, where the app has its database

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    @abstractmethod
    def start(self) -> None:
        """Have it serve on all hosts."""

    @abstractmethod
    def deploy(self) -> None:
        """Have the next release serve on all hosts."""

    @abstractmethod
    def stop(self) -> None:
        """Let what was replaced end, and have it serve no more."""

    def on_hosts(self, count: int) -> tuple[list[float], int]:  # noqa: ARG002 -- for those who keep a ledger
        """Seconds of each of the last `count` deploys on each host, as far as it knows, and how many failed."""
        return [], 0

    @property
    def addresses(self) -> list[str]:
        """Where each host serves it."""
        return [f"{address}:{self.port}" for address in self.fleet.lan.addresses.values()]

    def ledger(self, folder: Path) -> Path:
        """What all hosts have noted, as one database in `folder`."""
        whole = folder / "ledger.db"
        with contextlib.closing(sqlite3.connect(whole)) as database:
            database.execute("CREATE TABLE ledger (id TEXT, at REAL)")
            for name, host in self.fleet.hosts.items():
                (folder / name).mkdir()
                keep(host, self.shared, folder / name)
                database.execute("ATTACH ? AS one", (str(folder / name / "ledger.db"),))
                database.execute("INSERT INTO ledger SELECT id, at FROM one.ledger")
                database.commit()
                database.execute("DETACH one")
        return whole


class ByGapless(FleetWay):
    """`gapless deploy` in the project, on the laptop; `waves` are its own setting, else the default."""

    name, port, shared = "gapless deploy", PORT, "/srv/shop/shared"

    def __init__(self, fleet: Fleet, waves: str = "") -> None:
        super().__init__(fleet)
        hosts = ", ".join(f'"{name}"' for name in fleet.hosts)
        self.settings = HOSTS.format(hosts=hosts, waves=f"waves = {waves}" if waves else "")

    def start(self) -> None:
        self.fleet.up(self.settings)

    def deploy(self) -> None:
        self.fleet.commit(settings=self.settings)
        self.fleet.gapless("deploy", "-q")

    def stop(self) -> None:
        wait_until(lambda: not any(self.fleet.each(self._retiring).values()), DRAIN, "the replaced instances end")
        for host in self.fleet.hosts.values():
            insist(host, "stop", "shop.socket", "shop@*.service")

    def on_hosts(self, count: int) -> tuple[list[float], int]:
        """Seconds of each of the last `count` deploys on each host, from its ledger, and how many failed."""
        audits = self.fleet.each(lambda name: self.fleet.on(name, "audit")["deploys"][:count])
        deploys = [one for found in audits.values() for one in found]
        whole = [sum(phase["seconds"] for phase in one["phases"]) for one in deploys if one["outcome"] == "succeeded"]
        return whole, len(deploys) - len(whole)

    def _retiring(self, name: str) -> bool:
        return any(one["role"] == Role.RETIRING for one in self.fleet.on(name, "status")["instances"])


class ByPlaybook(FleetWay):
    """`ansible-playbook` as people have it, that unpacks the release and restarts the service, host after host."""

    name, port, shared = "ansible-playbook, systemctl restart, serial: 1", 8001, STOCK

    def start(self) -> None:
        self._number = 0
        archive = self._pack().read_bytes()

        def on(name: str) -> None:
            host = self.fleet.hosts[name]
            host.write("/etc/systemd/system/stock.service", UNIT.format(port=self.port))
            host.run("mkdir", "-p", STOCK)
            self.fleet.feed(name, archive, "tar", "-xf", "-", "-C", STOCK)
            host.run("systemctl", "daemon-reload")
            host.run("systemctl", "restart", "stock.service")
            wait_until(lambda: answers(host, self.port))

        self.fleet.each(on)

    def deploy(self) -> None:
        playbook = self.fleet.lan.home / "stock.yml"
        health = HEALTH.format(port=self.port)
        playbook.write_text(PLAYBOOK.format(archive=self._pack(), stock=STOCK, health=health))
        self.fleet.run(program("ansible-playbook"), "-i", str(self.fleet.lan.inventory), str(playbook))

    def _pack(self) -> Path:
        """The next release, as an archive."""
        self._number += 1
        release = self.fleet.lan.home / "stock"
        release.mkdir(exist_ok=True)
        (release / "app.py").write_text(APP)
        (release / "release.env").write_text(f"RELEASE=R{self._number}\n")
        archive = release.with_suffix(".tar")
        subprocess.run(["tar", "-C", release, "-cf", archive, "app.py", "release.env"], check=True, timeout=60)
        return archive

    def stop(self) -> None:
        for host in self.fleet.hosts.values():
            host.run("systemctl", "stop", "stock.service")


def answers(host: Host, port: int) -> bool:
    """Whether the app on a port of a host says that it is well."""
    try:
        return host.get(port, "/health")[0] == 200
    except OSError:
        return False
