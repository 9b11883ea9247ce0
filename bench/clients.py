"""The clients of the example wppackages, on a host of their own: two real Composers without rest, and a probe."""

from __future__ import annotations

import functools
import http.client
import json
import re
import socket
import ssl
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.host.host import PROJECT, Host
from tests.support import wait_until

EXAMPLE = PROJECT / "examples" / "wppackages"
PACKAGES, REQUIRED = 30, 8  # that wordpress.org has; of which each Composer installs
DOMAIN = "packages.example.com"
URL = f"https://{DOMAIN}"
CA = "/etc/ssl/wppackages.crt"  # on the host
FOLDER = Path("/opt/composer")
KINDS = ("cold", "warm")
UPSTREAM_PORT = 8100  # of what stands in for wordpress.org, on the same host
PATIENCE = 120.0  # seconds within which a run of Composer ends
RATE = 40  # requests a second, of the probe
# One run after the other: `cold` has forgotten all each time; `warm` has its caches, and for updates what is installed.
RUNS = """
kind=$1
export COMPOSER_HOME="$PWD/home" COMPOSER_ALLOW_SUPERUSER=1 COMPOSER_CAFILE="$2"
run() {
    echo "== $kind $1"
    composer "$1" -vvv --no-interaction --no-ansi --no-progress 2>&1
    echo "== ended $?"
    echo >> ended
}
while [ ! -e over ]; do
    if [ "$kind" = cold ]; then
        rm -rf vendor composer.lock home
        run update
    else
        run update
        rm -rf vendor
        run install
    fi
done
"""
RUN = re.compile(r"^== (cold|warm) (\w+)\n(.*?)^== ended (\d+)$", re.MULTILINE | re.DOTALL)
# What is said when a package is put in place; an upgrade is announced before, where only the lock changes.
OPERATION = re.compile(r"^  - (?:Installing|Upgrading|Downgrading) (\S+) \(.*\): ", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """A run of Composer with `-vvv`, and what it said."""

    kind: str
    status: int
    said: str

    @property
    def installs(self) -> Counter[str]:
        """How often it installed, or exchanged, which package; of a run that failed none are told to the repository."""
        return Counter(OPERATION.findall(self.said)) if self.status == 0 else Counter()

    @property
    def retries(self) -> int:
        """How many requests it sent again."""
        return self.said.count("Retrying (")

    @property
    def stale(self) -> int:
        """How often its cache had to serve, because the repository did not."""
        return self.said.count("could not be fully loaded")


class Clients:
    """Composer and the probe on `host`, for which DOMAIN is `address`, and wordpress.org, at `upstream`, for all.

    At the end `probed` is what the probe says.
    """

    def __init__(self, host: Host, address: str, upstream: str) -> None:
        self.host, self.address, self.upstream = host, address, upstream
        self.probed: dict[str, Any] = {}
        host.run("sh", "-c", f"echo '{address} {DOMAIN}' >> /etc/hosts")
        argv = (sys.executable, "-m", "wppackages.standin", "--host", upstream, "--packages", str(PACKAGES))
        host.run("systemd-run", "--quiet", "--unit=upstream", f"--property=WorkingDirectory={EXAMPLE}", "--", *argv)
        self.slugs = wait_until(self._calm, 30, "wordpress.org")[:REQUIRED]
        self.document = {
            "name": "acme/site",
            "require": {f"wp-plugin/{slug}": "*" for slug in self.slugs},
            # It cannot be downloaded here; without it packages go to vendor/.
            "replace": {"composer/installers": "2.2.0"},
            "repositories": [{"type": "composer", "url": URL}, {"packagist.org": False}],
        }

    def trust(self, certificate: str) -> None:
        """Have all clients trust a certificate authority."""
        self.host.write(CA, certificate)
        self._tls = ssl.create_default_context(cadata=certificate)

    def _calm(self) -> list[str]:
        """The plugins that wordpress.org lists, less those with faults, which have no number; none before it is up."""
        try:
            listed = self._upstream("GET", "/plugins/info/1.2/?action=query_plugins&request[page]=1")["plugins"]
        except ConnectionRefusedError:
            return []
        return [one["slug"] for one in listed if one["slug"][-1].isdigit()]

    def release(self, number: int) -> None:
        """Have the author of a plugin release another version: each time, by `number`, of another plugin."""
        self._upstream("POST", f"/_world?release={self.slugs[number % len(self.slugs)]}")

    def _upstream(self, method: str, target: str) -> Any:
        def ask() -> Any:
            connection = http.client.HTTPConnection(self.upstream, UPSTREAM_PORT, timeout=20)
            connection.request(method, target)
            return json.loads(connection.getresponse().read())

        return self.host.inside(ask)

    def filled(self) -> bool:
        """Whether the service has all the packages that Composers install."""
        try:
            return all(self.get(f"/p2/wp-plugin/{slug}.json")[0] == 200 for slug in self.slugs)
        except OSError:  # Caddy has no certificate yet
            return False

    def get(self, path: str) -> tuple[int, bytes]:
        """One request over HTTPS."""
        return self.host.inside(functools.partial(self._get, path))

    def _get(self, path: str) -> tuple[int, bytes]:
        plain = socket.create_connection((self.address, 443), 20)
        with self._tls.wrap_socket(plain, server_hostname=DOMAIN) as encrypted:
            connection = http.client.HTTPConnection(DOMAIN)
            connection.sock = encrypted
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def start(self) -> None:
        """Start them; nothing is there of what clients before them knew."""
        self.host.run("rm", "-rf", str(FOLDER))
        for kind in KINDS:
            self.host.write(FOLDER / kind / "composer.json", json.dumps(self.document))
            self._unit(f"composer-{kind}", FOLDER / kind, "sh", "-c", RUNS, "sh", kind, CA)
        probe = (sys.executable, "-m", "gapless", "probe", URL, "--json", "--assets", "--rate", str(RATE))
        self._unit("probe", FOLDER, *probe)
        self.flow()

    def _unit(self, name: str, folder: Path, *argv: str) -> None:
        about = ("KillSignal=SIGINT", f"StandardOutput=file:{folder}/{name}.log", f"WorkingDirectory={folder}")
        environment = ("HOME=/root", f"SSL_CERT_FILE={CA}")
        options = [*(f"--property={one}" for one in about), *(f"--setenv={one}" for one in environment)]
        self.host.run("systemd-run", "--quiet", "--collect", f"--unit={name}", *options, "--", *argv)

    def flow(self) -> None:
        """Wait until each Composer has made a whole run more: it began, and ended, from now on."""
        goals = {kind: self._ended(kind) + 2 for kind in KINDS}
        wait_until(lambda: all(self._ended(kind) >= goal for kind, goal in goals.items()), PATIENCE, "more runs")

    def stop(self) -> list[Run]:
        """Let the runs that are under way end, then the probe; all runs of Composer."""
        for kind in KINDS:
            self.host.write(FOLDER / kind / "over", "")
        wait_until(
            lambda: not any(self._active(f"composer-{kind}") for kind in KINDS), PATIENCE, "Composer's last runs"
        )
        self.host.run("systemctl", "stop", "probe.service")
        self.probed = json.loads(self._log("probe", FOLDER))
        return [run for kind in KINDS for run in self._runs(kind)]

    def _active(self, unit: str) -> bool:
        return self.host.run("systemctl", "is-active", "--quiet", unit, check=False).returncode == 0

    def _runs(self, kind: str) -> list[Run]:
        text = self._log(f"composer-{kind}", FOLDER / kind)
        return [Run(match[1], int(match[4]), match[3]) for match in RUN.finditer(text)]

    def _ended(self, kind: str) -> int:
        """How many runs have ended: each writes a byte."""
        path = self._outside(FOLDER / kind / "ended")
        return path.stat().st_size if path.exists() else 0

    def _log(self, name: str, folder: Path) -> str:
        return self._outside(folder / f"{name}.log").read_text(errors="replace")

    def _outside(self, path: Path) -> Path:
        return Path(f"/proc/{self.host.pid}/root{path}")
