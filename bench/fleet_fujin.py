"""fujin's way to deploy the demo app to every host of a fleet: its own command, one host after the other."""

from __future__ import annotations

import os
import subprocess
import venv

from tests.host import packages
from tests.host.fleet import APP
from tests.support import wait_until

from bench.fleet_ways import BOOT, FleetWay, answers
from gapless.errors import GaplessError
from gapless.version import VERSION

FUJIN = "0.27.1"
PLACE = packages.FOLDER / f"fujin-{FUJIN}"  # an environment of its own
# Not one that begins other units' names: fujin stops and removes all units of a host that begin with its app's.
NAME = "wind"
PYTHON = f"/opt/gapless/{VERSION}/bin/python"  # of the hosts, with uvicorn
# With "python-package" in the place of "binary" each host gets a Python and packages by uv, from the internet.
SETTINGS = f"""\
app = "{NAME}"
version = "{{number}}"
installation_mode = "binary"
build_command = "python3 -m zipapp app --python {PYTHON} --output {NAME}.pyz"
distfile = "{NAME}.pyz"
"""
HOST = """
[[hosts]]
name = "{name}"
address = "{address}"
user = "root"
key_filename = "{key}"
env = "RELEASE=R{{version}}"
"""
MAIN = """\
import os

import uvicorn
from app import app

headers = [("gapless-release", os.environ["RELEASE"])]
uvicorn.run(app, host="0.0.0.0", port={port}, access_log=False, headers=headers)
"""
# As `fujin init` writes it, with fujin's own variables; in the place of gunicorn is what is deployed.
UNIT = f"""\
[Unit]
Description={{app_name}} web
After=network.target

[Service]
Type=simple
User={{app_user}}
WorkingDirectory={{app_dir}}
EnvironmentFile={{install_dir}}/.env
Environment=DEMO_BOOT={BOOT} GAPLESS_SHARED={{app_dir}}
RuntimeDirectory={{app_name}}
RuntimeDirectoryMode=0755
UMask=0002
ExecStart={{install_dir}}/{{app_name}}
Restart=on-failure
RestartSec=5s
NoNewPrivileges=true
PrivateTmp=true
ProtectSystem=strict
ProtectHome=true
ReadWritePaths={{app_dir}}

[Install]
WantedBy=multi-user.target
"""

KNOWN = 'echo "127.0.1.1 $(cat /etc/hostname)" >> /etc/hosts'  # as on any Debian: sudo looks for it


class ByFujin(FleetWay):
    """`fujin deploy` for host after host, as one has to type it: it takes one host a command."""

    name, port, shared = f"fujin {FUJIN} deploy, host after host", 8002, f"/opt/fujin/{NAME}"

    def start(self) -> None:
        install()
        self._number = 0
        self._project = self.fleet.lan.home / NAME
        (self._project / "app").mkdir(parents=True)
        (self._project / "app" / "app.py").write_text(APP)
        (self._project / "app" / "__main__.py").write_text(MAIN.format(port=self.port))
        units = self._project / ".fujin" / "systemd"
        units.mkdir(parents=True)
        (units / "web.service").write_text(UNIT)
        for host in self.fleet.hosts.values():
            host.run("sh", "-c", KNOWN)
        self.deploy()
        self.fleet.each(lambda name: wait_until(lambda: answers(self.fleet.hosts[name], self.port)))

    def deploy(self) -> None:
        """Here it has been started on all hosts; whether it serves, fujin does not ask."""
        self._number += 1
        key, addresses = self.fleet.lan.key, self.fleet.lan.addresses
        hosts = [HOST.format(name=name, address=address, key=key) for name, address in addresses.items()]
        (self._project / "fujin.toml").write_text(SETTINGS.format(number=self._number) + "".join(hosts))
        for name in self.fleet.hosts:
            self._fujin("deploy", "--no-input", "--host", name)

    def _fujin(self, *argv: str) -> None:
        """Run it on the laptop, in its project. Raises GaplessError with what it says when it fails."""
        stdin, kept = os.pipe()  # as on a terminal nobody types on: at the end of /dev/null it spins
        try:
            done = subprocess.run(
                self.fleet.lan.within(str(PLACE / "bin" / "fujin"), *argv),
                cwd=self._project,
                stdin=stdin,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        finally:
            os.close(stdin)
            os.close(kept)
        if done.returncode:
            raise GaplessError("run", f"fujin {' '.join(argv)}", (done.stdout + done.stderr).strip())

    def stop(self) -> None:
        for host in self.fleet.hosts.values():
            host.run("systemctl", "stop", f"{NAME}-web.service")


def install() -> None:
    """Bring fujin into its environment, where it is missing. Raises CalledProcessError."""
    if not (PLACE / "bin" / "fujin").exists():
        venv.create(PLACE, with_pip=True, clear=True)
        pip = [str(PLACE / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, f"fujin-cli=={FUJIN}"], check=True, timeout=300)
