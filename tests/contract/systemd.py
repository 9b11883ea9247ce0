"""The contract tests' world under the systemd of this machine: only ever inside a host made for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gapless import environment
from gapless.config import load
from gapless.provision.install import Installation
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.manager import SystemdManager
from gapless.switch.systemd.systemctl import Systemctl
from tests.support import inode_of

HERE = Path(__file__).parent
PORT = 8000


class Systemd:
    """The app `web`, installed and without a release."""

    def __init__(self) -> None:
        self.home = SystemdHome("web")
        self.shared = self.home.shared
        self.manager = SystemdManager(self.home)
        self.address = ("127.0.0.1", PORT)
        self.processes: list[subprocess.Popen[bytes]] = []

    def up(self) -> None:
        project = Path("/root/web")
        project.mkdir(exist_ok=True)
        self.configure(project)
        Installation(load(project), self.home, None).make()

    def configure(self, directory: Path, behaviour: str = "", command: Sequence[str] = (sys.executable,)) -> None:
        (directory / "gapless.toml").write_text(f"""
            name = "web"
            command = {msgspec.json.encode(list(command)).decode()}
            listen = "127.0.0.1:{PORT}"
            env = {{ BEHAVIOUR = "{behaviour}" }}
            check = {{ rehearse = false }}  # the app says itself when it is ready
        """)

    def release(self, name: str, behaviour: str = "", command: Sequence[str] = ()) -> str:
        """Make the release `name`, of which every instance behaves like that."""
        directory = self.home.root / "releases" / name
        directory.mkdir()
        shutil.copy(HERE / "app.py", directory)  # the project may be where the sandbox hides it
        self.configure(directory, behaviour, command or [sys.executable, "app.py"])
        environment.take_settings(self.home.root, name)
        environment.fix(self.home.root, name, load(directory), directory)
        return name

    def inode(self) -> int:
        """Of the listening socket."""
        return inode_of(PORT)

    def caller(self, code: str) -> subprocess.Popen[bytes]:
        """A process that runs `code` with `manager` at hand: one that a test may kill."""
        prelude = (
            "from gapless.switch.systemd.home import SystemdHome\n"
            "from gapless.switch.systemd.manager import SystemdManager\n"
            "manager = SystemdManager(SystemdHome('web'))\n"
        )
        process = subprocess.Popen([sys.executable, "-c", prelude + code], cwd=HERE.parents[1], env=os.environ)
        self.processes.append(process)
        return process

    def down(self) -> None:
        """Remove everything, whatever state the test left it in."""
        for process in self.processes:
            process.kill()
            process.wait()
        ctl = Systemctl()
        ctl.attempt("stop", self.home.socket)
        ctl.attempt("kill", "--signal=SIGKILL", self.home.unit("*"))
        Installation(load(Path("/root/web")), self.home, None).remove(data=True)
