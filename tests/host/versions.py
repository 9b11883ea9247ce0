"""Two versions of gapless on one host: this one, and the one that an upgrade comes from."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.host import packages
from tests.host.host import PROJECT, Host
from tests.host.life import Shop

OLDER = "c743413a3df1962d45ab0790cd16904c4562919c"  # of November 2026: before files said who had made them
LIBRARIES = "/opt/libraries"


def wheels() -> tuple[Path, Path]:
    """The wheel of OLDER, made from git's history, and this one's; skips the test where that history is not there."""
    folder = packages.FOLDER / "upgrade" / packages.version()
    packages.wheels(folder)
    older = folder / "older"
    if not list(older.glob("*.whl")):
        tree = older / "tree"
        tree.mkdir(parents=True, exist_ok=True)
        git = ["git", "archive", OLDER, "src", "pyproject.toml", "README.md", "LICENSE"]
        archive = subprocess.run(git, cwd=PROJECT, capture_output=True, check=False)
        if archive.returncode:
            pytest.skip(f"this copy of the project lacks its history: {archive.stderr.decode()}")
        subprocess.run(["tar", "-x"], cwd=tree, input=archive.stdout, check=True)
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(older)]
        subprocess.run(build, cwd=tree, check=True, capture_output=True, timeout=120)
    [old], [this] = older.glob("*.whl"), folder.glob("gapless-*.whl")
    return old, this


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
