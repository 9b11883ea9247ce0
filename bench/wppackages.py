"""Deploy the example wppackages again and again while real Composers install from it, over HTTPS through Caddy.

As root, on hosts of their own: one that the playbook makes of a bare Debian, and one for the clients. By gapless, and
in the starting point's way. The exit status is not 0 when `gapless deploy` did not keep a promise; each is named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.host import packages
from tests.host.ansible import Playbooks, install_collection, installing, make_bare
from tests.host.host import REQUIREMENTS, Host, install_requirements
from tests.host.lan import Lan
from tests.host.proxies import logged
from tests.host.registry import Registry
from tests.support import wait_until

from bench.__main__ import put_between
from bench.clients import EXAMPLE, KINDS, RATE, UPSTREAM_PORT, Clients, Run
from bench.services import DESTINATION, HOST, ByGapless, Project, Service
from bench.starting_point import ByRestart

DEPLOYS, ROLLBACKS = 50, 5
INDEX = packages.FOLDER / "wppackages"  # served to the host as PyPI
PREPARE = "rm -rf /etc/xdg/pip; apt-get update -qq && apt-get install -qq --yes --no-install-recommends python3-venv"
ROOT_CA = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"
WHEELS = ("starlette", "jinja2", "hatchling", "tzdata")  # what the example's build asks the index for, beside gapless
PAGES = (EXAMPLE / "README.md", EXAMPLE.parents[1] / "docs" / "why.md")
HEADINGS = ["way", "deploys", "rollbacks", "runs of Composer", "failed", "retries", "not fully loaded"]
HEADINGS += [
    "installs counted",
    "probe: lost",
    "worst",
    "files of pages missing",
    "retries in Caddy's log",
    "5xx there",
]


@dataclass(frozen=True)
class Row:
    """What clients saw of a way to deploy; `sent` and `counted` are installs by package."""

    way: str
    deploys: int
    by_playbook: int
    rollbacks: int
    runs: Sequence[Run]
    sent: Counter[str]
    counted: Counter[str]
    total: int  # of all installs, as the service itself says
    probed: dict[str, Any]
    log: Sequence[dict[str, Any]]

    @property
    def failed(self) -> int:
        return sum(run.status != 0 for run in self.runs)

    @property
    def retries(self) -> int:
        return sum(run.retries for run in self.runs)

    @property
    def stale(self) -> int:
        return sum(run.stale for run in self.runs)

    @property
    def proxy_retries(self) -> int:
        return sum(int(one.get("retries") or 0) for one in self.log)

    @property
    def proxy_errors(self) -> int:
        return sum(one["status"] >= 500 or one["status"] == 0 for one in self.log)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wppackages", description=__doc__)
    parser.add_argument("--deploys", type=int, default=DEPLOYS, help="in each way; fewer than all: writes nothing")
    parser.add_argument("--rollbacks", type=int, default=ROLLBACKS, help="in between")
    options = parser.parse_args()
    install_requirements()
    subprocess.run([REQUIREMENTS, "clients"], check=True, timeout=480)
    rows = []
    with tempfile.TemporaryDirectory(prefix="gapless-wppackages-") as folder, made(Path(folder)) as (services, clients):
        for service in services:
            rows.append(measure(service, clients, options.deploys, options.rollbacks))
            print(cells(rows[-1]), rows[-1].probed["lost_by_failure"], rows[-1].probed["lost_by_status"], flush=True)
    text = report(rows)
    print(text)
    if options.deploys >= DEPLOYS and options.rollbacks >= ROLLBACKS:
        (Path(__file__).parent / "wppackages.md").write_text(text)
        for page in PAGES:
            put_between(page, "wppackages", text)
    if wrong := unkept(rows[0]):
        sys.exit("\n".join(wrong))


@contextlib.contextmanager
def made(folder: Path) -> Iterator[tuple[list[Service], Clients]]:
    """A bare Debian and a host of clients on one network: the ways to have the service on the one, and the clients."""
    packages.wheels(INDEX, *WHEELS)
    with Lan() as lan, Host() as server, Host() as visitors, contextlib.ExitStack() as stack:
        make_bare(server)
        address, other = lan.join(server, HOST), lan.join(visitors, "clients")
        index = stack.enter_context(Registry(INDEX, server))
        server.run("sh", "-c", PREPARE, timeout=120)
        server.write("/etc/pip.conf", f"[global]\nindex-url = {index.url}/simple\ntrusted-host = {server.address}\n")
        project = Project(folder / "wppackages", f"http://{other}:{UPSTREAM_PORT}")
        variables = {
            **installing(folder),
            "gapless_hosts": HOST,
            "host_firewall": True,
            "litestream_enabled": False,  # nothing is replicated here
            "app_name": "wppackages",
            "app_destination": DESTINATION,
            "app_source": str(project.folder),
        }
        play = Playbooks(lan, install_collection(folder), variables)
        stack.callback(play.close)
        clients = Clients(visitors, address, other)
        yield [ByGapless(lan, server, project, play), ByRestart(lan, server, project)], clients


def measure(service: Service, clients: Clients, deploys: int, rollbacks: int) -> Row:
    """Have a way serve, deploy and roll back under its clients, and remove it."""
    began = time.monotonic()
    service.start()
    print(f"{service.name}: up after {time.monotonic() - began:.0f} s", flush=True)
    wait_until(lambda: service.host.run("test", "-s", ROOT_CA, check=False).returncode == 0, 60, "Caddy's own CA")
    clients.trust(service.host.read(ROOT_CA))
    wait_until(clients.filled, 90, "a build with all packages")
    before = len(logged(service.host, service.log))
    clients.start()
    rolled_back = 0
    for number in range(1, deploys + 1):
        clients.release(number)
        service.deploy(number)
        clients.flow()
        if rolled_back < number * rollbacks // deploys:
            rolled_back += 1
            service.roll_back()
            clients.flow()
        print(f"\r{service.name}: {number} deploys, {rolled_back} rollbacks, {time.monotonic() - began:.0f} s", end="")
    print()
    runs = clients.stop()
    counted = service.counted()
    sent = sum((run.installs for run in runs), Counter[str]())
    log = logged(service.host, service.log)[before:]
    total = json.loads(clients.get("/api/stats")[1])["installs"]["total"]
    row = Row(service.name, deploys, service.by_playbook, rolled_back, runs, sent, counted, total, clients.probed, log)
    service.stop()
    return row


def unkept(row: Row) -> list[str]:
    """Say what a way did not keep of the promise."""
    wrong = row.sent - row.counted, row.counted - row.sent
    found = [
        f"{row.failed} runs of Composer failed" if row.failed else "",
        f"Composer sent {row.retries} requests again" if row.retries else "",
        f"{row.stale} answers of the repository could not be fully loaded" if row.stale else "",
        f"{wrong[0].total()} installs were not counted: {dict(wrong[0])}" if wrong[0] else "",
        f"{wrong[1].total()} installs were counted too often: {dict(wrong[1])}" if wrong[1] else "",
        f"/api/stats says {row.total} installs, and there were {row.sent.total()}"
        if row.total != row.sent.total()
        else "",
        f"{row.probed['lost']} requests of the probe were lost: {row.probed['losses'][:5]}"
        if row.probed["lost"]
        else "",
        f"{row.probed['assets']['missing']} files of pages were missing" if row.probed["assets"]["missing"] else "",
        "the pages of the probe referred to nothing" if not row.probed["assets"]["fetched"] else "",
        f"Caddy sent {row.proxy_retries} requests again" if row.proxy_retries else "",
        f"Caddy answered {row.proxy_errors} requests with 5xx" if row.proxy_errors else "",
        "nothing was installed" if not row.sent else "",
        f"Caddy logged {len(row.log)} requests" if len(row.log) < row.probed["requests"] - row.probed["lost"] else "",
    ]
    for kind in KINDS:
        if not any(run.kind == kind for run in row.runs):
            found.append(f"there was no run of Composer with a {kind} cache")
    if (seen := len(row.probed["releases"])) < row.deploys + 1:
        found.append(f"{seen} of {row.deploys + 1} releases answered the probe")
    return [f"{row.way}: {one}" for one in found if one]


def cells(row: Row) -> str:
    """A line of the table, as HEADINGS say; a missing file is no other loss."""
    files = row.probed["assets"]
    found = (
        row.way,
        f"{row.deploys}",
        f"{row.rollbacks}",
        f"{len(row.runs)}",
        f"{row.failed}",
        f"{row.retries}",
        f"{row.stale}",
        f"{(row.counted & row.sent).total():,} of {row.sent.total():,}",
        f"{row.probed['lost'] - files['missing']:,} of {row.probed['requests'] - files['fetched']:,}",
        f"{row.probed['latency_ms']['max']:,.0f} ms",
        f"{files['missing']:,} of {files['fetched']:,}",
        f"{row.proxy_retries}",
        f"{row.proxy_errors}",
    )
    return f"| {' | '.join(found)} |"


def report(rows: Sequence[Row]) -> str:
    """The figures as Markdown."""
    first = rows[0]
    cold = sum(run.kind == "cold" for run in first.runs)
    lines = [
        "Two Composers without rest, one with cold caches and one with warm ones, and a probe that never retries, "
        f"{RATE} requests a second and the files of its pages, over HTTPS through Caddy, to a host that the playbook "
        "made; each deploy is another version. `make wppackages` makes this table.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|{' --- |' * len(HEADINGS)}",
        *map(cells, rows),
        "",
        f"Of the {first.deploys} deploys by gapless {first.by_playbook} went through the playbook, the rest over SSH; "
        f"of the {len(first.runs)} runs of Composer {cold} began with nothing. Composer asks three times, and then "
        "takes what its cache has: the repository could not be fully loaded. Of its installs it tells once.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
