"""A package repository for hosts, which have no network: downloaded once, kept in the project, out of git's sight."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from tests.host.host import LOWER, PROJECT, Host

FOLDER = PROJECT / ".packages" / "debs"
SEEN = Path(f"{LOWER}{FOLDER}")  # from this machine
# What the playbooks and the guide install.
PACKAGES = (
    *("unattended-upgrades", "nftables", "python3-apt", "python3-venv", "tzdata", "restic", "git", "caddy"),
    "needrestart",
)
SOURCES = f"deb [trusted=yes] file:{FOLDER} ./\n"


def download() -> None:
    """Fill FOLDER, of the userland that hosts boot, with PACKAGES and what they need, as far as it lacks them.

    Raises CalledProcessError.
    """
    full, wanted = SEEN / "full", " ".join(PACKAGES)
    if full.exists() and full.read_text() == wanted:
        return
    (SEEN / "partial").mkdir(parents=True, exist_ok=True)
    there = ["chroot", LOWER or "/"]
    subprocess.run([*there, "apt-get", "update", "-qq"], check=True, timeout=240)
    where = ("-o", f"Dir::Cache::archives={FOLDER}", "-o", "APT::Sandbox::User=root")
    argv = [
        *there,
        "apt-get",
        "install",
        "-qq",
        "--download-only",
        "--reinstall",
        "--no-install-recommends",
        *where,
        *PACKAGES,
    ]
    subprocess.run(argv, check=True, timeout=240, stdout=subprocess.DEVNULL)
    (SEEN / "Packages").write_text("".join(_entry(path) for path in sorted(SEEN.glob("*.deb"))))
    full.write_text(wanted)


def _entry(path: Path) -> str:
    """What the index of a repository says of a package (deb822(5))."""
    control = subprocess.run(["dpkg-deb", "--field", path], check=True, timeout=60, capture_output=True, text=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{control.stdout}Filename: ./{path.name}\nSize: {path.stat().st_size}\nSHA256: {digest}\n\n"


def offer(host: Host) -> None:
    """Let apt on `host` know this repository, and no other."""
    host.run("sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d /var/lib/apt/lists/*")
    host.write("/etc/apt/sources.list", SOURCES)
