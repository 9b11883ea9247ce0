"""Several versions of gapless on one host."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.host import packages
from tests.host.host import Host
from tests.host.life import Shop

LIBRARIES = "/opt/libraries"


def this_wheel() -> Path:
    """Build this one's wheel, into a folder with those of what it needs."""
    folder = packages.FOLDER / "upgrade" / packages.version()
    packages.wheels(folder)
    return next(folder.glob("gapless-*.whl"))


def install(host: Host, name: str, wheel: Path) -> str:
    """Install gapless on the host as docs/upgrade.md has it, in /opt/`name`; its command."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    offline = ["install", "-q", "--no-index", "--no-warn-script-location", "--root-user-action=ignore"]
    if host.run("test", "-e", LIBRARIES, check=False).returncode:  # both versions need the same
        found = ["--find-links", str(wheel.parent), "--target", LIBRARIES]
        host.run(*pip, *offline, *found, f"{wheel}[serve,cli]", timeout=120)
    host.run(sys.executable, "-m", "venv", "--without-pip", f"/opt/{name}")
    python = f"/opt/{name}/bin/python"
    place = host.run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    host.write(f"{place}/libraries.pth", f"{LIBRARIES}\n")
    host.run(*pip, "--python", python, *offline, "--ignore-installed", "--no-deps", str(wheel), timeout=120)
    return f"/opt/{name}/bin/gapless"


@dataclass
class Versioned(Shop):
    """The app of an operator who calls the gapless at `command`."""

    command: str = ""

    def __call__(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.host.run(self.command, *argv, check=check, cwd=self.project)
