"""The example wppackages as the starting point would have it: stock uvicorn on a held socket, and a restart."""

from __future__ import annotations

from tests.support import wait_until

from bench.clients import DOMAIN
from bench.services import BUILT, HOST, Service

FOLDER = "/opt/stock"
PROGRAM = f"{BUILT}/bin/python -m wppackages"
UNITS = {
    "stock.socket": """\
[Socket]
ListenStream=127.0.0.1:8000
Backlog=4096
NoDelay=true
""",
    # It keeps idle connections for longer than Caddy does.
    "stock.service": f"""\
[Service]
WorkingDirectory={FOLDER}
EnvironmentFile=/etc/stock.env
ExecStart={BUILT}/bin/python -m uvicorn wppackages.web:app --fd 3 --no-access-log --timeout-keep-alive 40
""",
    "stock-refresh.service": f"""\
[Service]
Type=oneshot
WorkingDirectory={FOLDER}
EnvironmentFile=/etc/stock.env
ExecStart=-{PROGRAM} discover
ExecStart=-{PROGRAM} update
ExecStart=-{PROGRAM} build
""",
    "stock-refresh.timer": """\
[Timer]
OnCalendar=*:*:0/5
AccuracySec=1s
""",
}
ENVIRONMENT = """\
WPPACKAGES_DATA=/var/lib/stock
WPPACKAGES_URL=https://{domain}
WPPACKAGES_UPSTREAM={upstream}
WPPACKAGES_MIRROR=*
"""
SITE = f"""\
{{
	admin unix//run/caddy/admin.sock
}}
{DOMAIN} {{
	tls internal
	log {{
		output file /var/log/caddy/stock.log
	}}
	log_append retries {{http.reverse_proxy.retries}}
	encode zstd gzip
	reverse_proxy 127.0.0.1:8000 {{
		lb_try_duration 10s
		lb_try_interval 100ms
		transport http {{
			keepalive 30s
		}}
	}}
}}
"""


class ByRestart(Service):
    """`systemctl restart` of stock uvicorn on a held socket, behind Caddy: the starting point's way."""

    name, log, database = "systemctl restart, held socket", "stock", "/var/lib/stock/wppackages.db"

    def start(self) -> None:
        about = {"upstream": self.project.upstream, "domain": DOMAIN}
        self.host.write("/etc/stock.env", ENVIRONMENT.format(**about))
        for name, text in UNITS.items():
            self.host.write(f"/etc/systemd/system/{name}", text)
        self.host.run("mkdir", "-p", FOLDER, "/var/lib/stock")
        self._unpack("HEAD")
        script = f". /etc/stock.env; cd {FOLDER}; exec {PROGRAM} migrate"
        self.host.run("sh", "-ac", script)
        self.host.run("systemctl", "daemon-reload")
        self.host.run("systemctl", "start", "stock.socket", "stock-refresh.timer")
        self.host.write("/etc/caddy/Caddyfile", SITE)
        self.host.run("systemctl", "reload", "caddy")
        self._restart()

    def deploy(self, number: int) -> None:  # noqa: ARG002 -- all are made alike
        self.project.commit()
        self._unpack("HEAD")
        self._restart()

    def roll_back(self) -> None:
        self._unpack("HEAD~1")
        self._restart()

    def stop(self) -> None:
        self.lan.ssh(HOST, "systemctl", "stop", "stock-refresh.timer", "stock.socket", "stock.service")

    def _unpack(self, revision: str) -> None:
        self.lan.ssh(HOST, "tar", "-xf", self._send(revision), "-C", FOLDER)

    def _restart(self) -> None:
        self.lan.ssh(HOST, "systemctl", "restart", "stock.service")
        # It waits in the kernel's queue until the app is up.
        wait_until(lambda: self.host.get(8000, "/ready", timeout=60)[0] == 200, 60, "the app is ready")
