"""The contract tests' world under the systemd of this machine: only ever inside a host made for it."""

from __future__ import annotations

import shutil
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
from tests.contract.worlds import Processes
from tests.support import inode_of

HERE = Path(__file__).parent
PORT = 8000


class Systemd(Processes):
    """The app `web`, installed and without a release."""

    def __init__(self) -> None:
        super().__init__(
            "from gapless.switch.systemd.home import SystemdHome\n"
            "from gapless.switch.systemd.manager import SystemdManager\n"
            "manager = SystemdManager(SystemdHome('web'))"
        )
        self.home = SystemdHome("web")
        self.shared = self.home.shared
        self.manager = SystemdManager(self.home)
        self.address = ("127.0.0.1", PORT)

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

    def down(self) -> None:
        """Remove everything, whatever state the test left it in."""
        super().down()
        ctl = Systemctl()
        ctl.attempt("stop", self.home.socket)
        ctl.attempt("kill", "--signal=SIGKILL", self.home.unit("*"))
        Installation(load(Path("/root/web")), self.home, None).remove(data=True)
