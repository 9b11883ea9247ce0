"""Ways to deploy the demo app on a systemd host: `gapless up` and `gapless deploy`, and a restart on a held socket."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.host.host import Host
from tests.support import inode_of, wait_until

from gapless.demo.ways import Gapless, Way
from gapless.errors import GaplessError
from gapless.switch.manager import Role
from gapless.switch.systemd.home import SystemdHome

PROJECT = "/root/demo"  # on the host
PLACE = SystemdHome("demo")
# What systemd logs when a unit ended, systemd.journal-fields(7) and `journalctl --catalog`.
SUCCESS, FAILURE = "7ad2d189f7e94e70a38c781354912448", "d9b373ed55a64feb8242e02dbe79a49c"
DRAIN = 60.0  # seconds within which every replaced instance has ended: more than all its budgets
STOCK = {
    "stock.socket": """\
[Socket]
ListenStream=127.0.0.1:{port}
Backlog=4096
NoDelay=true
""",
    "stock.service": """\
[Service]
WorkingDirectory={project}
Environment=DEMO_BOOT={boot}
ExecStart={python} -m uvicorn app:app --fd 3 --no-access-log
""",
}


class OnHost(Gapless):
    """The demo app installed by `gapless up`; `folder` is on this machine, for what is left when it is over."""

    def __init__(self, host: Host, folder: Path, boot: float, *, linger: float) -> None:
        super().__init__("gapless", folder, boot, linger=linger)
        self.host = host
        self._inode = 0
        self._ended_before = self._ended = 0

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    def gapless(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return self.host.gapless(*argv, cwd=PROJECT, check=False, timeout=120)

    def deploying(self) -> subprocess.Popen[str]:
        """A deploy that has just begun: one to kill."""
        return self.host.popen(sys.executable, "-m", "gapless", "deploy", "-q", cwd=PROJECT)

    def start(self) -> None:
        _write_project(self.host, self.folder)
        up = self.gapless("up", "-q")
        if up.returncode:
            raise GaplessError("install", "the demo app", up.stderr.strip())
        self._ended_before = _endings(self.host)
        self._inode = self.inode()

    def deploy(self) -> None:
        """Raises GaplessError when it fails, or when the listening socket is another one after it."""
        super().deploy()
        self.same_socket()

    def same_socket(self) -> None:
        """Raises GaplessError when the listening socket is not the one that `start` saw."""
        if (now := self.inode()) != self._inode:
            raise GaplessError("keep", "the listening socket", f"its inode was {self._inode} and is {now}")

    def unit_of(self, role: Role) -> str:
        """The unit of the live instance, or of a candidate that starts; empty when there is none just now."""
        root = Path(f"/proc/{self.host.pid}/root")
        commit = (root / PLACE.commit.relative_to("/")).read_text()
        live = next(line.partition("=")[2] for line in commit.splitlines() if line.startswith("Service="))
        if role is Role.LIVE:
            return live
        states = ("--state=activating", "--state=active")
        listed = self.host.run("systemctl", "list-units", "--plain", "--no-legend", *states, PLACE.unit("*")).stdout
        units = [line.split()[0] for line in listed.splitlines()]
        return next((unit for unit in units if unit != live), "")

    def rebooted(self) -> None:
        """The host has booted again, with a socket of its own."""
        self._inode = self.inode()

    def inode(self) -> int:
        """Of the listening socket."""
        return inode_of(self.port, Path(f"/proc/{self.host.pid}/net/tcp"))

    def stop(self) -> None:
        """Let the replaced instances drain, see how they ended, keep the ledger, and remove all from the host."""
        self.settle()
        self._ended = _endings(self.host) - self._ended_before
        self.host.gapless("down", "-y", cwd=PROJECT)
        keep(self.host, str(PLACE.shared), self.folder)
        self.host.gapless("down", "-y", "--data", cwd=PROJECT)

    def settle(self) -> None:
        """Let the replaced instances drain."""
        wait_until(lambda: not self._retiring(), DRAIN, "the replaced instances end")

    def ended_cleanly(self) -> int:
        """How many instances ended as they were told to, less those that failed."""
        return self._ended

    def _retiring(self) -> bool:
        status = json.loads(self.gapless("status", "--json").stdout)
        return any(one["role"] == Role.RETIRING for one in status["instances"])


class HostRestart(Way):
    """`systemctl restart` of stock uvicorn on a socket that its socket unit holds: the starting point's way."""

    def __init__(self, host: Host, folder: Path, boot: float) -> None:
        super().__init__("uvicorn, restart", folder, boot)
        self.host = host
        self.boot = boot

    def start(self) -> None:
        _write_project(self.host, self.folder)
        for name, text in STOCK.items():
            about = {"port": self.port, "project": PROJECT, "boot": self.boot, "python": sys.executable}
            self.host.write(f"/etc/systemd/system/{name}", text.format(**about))
        self.host.run("systemctl", "daemon-reload")
        self.host.run("systemctl", "start", "stock.socket")
        self.deploy()

    def deploy(self) -> None:
        self.host.run("systemctl", "restart", "stock.service")
        self.host.get(self.port, timeout=60)  # it waits in the kernel's queue until the app is up

    def stop(self) -> None:
        self.host.run("systemctl", "stop", "stock.socket", "stock.service")
        keep(self.host, PROJECT, self.folder)
        self.host.run("rm", "-r", PROJECT)


def _write_project(host: Host, folder: Path) -> None:
    for path in (folder / "app.py", folder / "gapless.toml"):
        if path.exists():
            host.write(f"{PROJECT}/{path.name}", path.read_text())


def keep(host: Host, directory: str, folder: Path) -> None:
    """Copy a database that nobody uses any more, with what SQLite has in the log beside it."""
    for path in Path(f"/proc/{host.pid}/root{directory}").glob("ledger.db*"):
        shutil.copy(path, folder)


def _endings(host: Host) -> int:
    """How many instances ended well, less those that failed, since the host's disk was made."""
    host.run("journalctl", "--sync")
    count = [
        len(
            host.run(
                "journalctl", "--quiet", "--output=cat", f"--unit={PLACE.unit('*')}", f"MESSAGE_ID={one}"
            ).stdout.splitlines()
        )
        for one in (SUCCESS, FAILURE)
    ]
    return count[0] - count[1]
