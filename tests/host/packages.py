"""What the registry of a host serves: downloaded once by name, kept in the project, out of git's sight."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

from tests.host.host import LOWER, PROJECT

FOLDER = PROJECT / ".packages"
PYTHON = "/usr/bin/python3"  # which builds find on a host
# Of tzdata, only locks speak: Django wants it on Windows.
WHEELS = ("uv==0.13.9", "poetry==2.5.1", "msgspec==0.22.0", "django==5.2.19", "tzdata")
NODE = "is-number@7.0.0"
INTERPRETER = "python.tar.gz"
LEFT_OUT = ("/__pycache__", "/test", "/dist-packages", "/config-")
ABOUT = (
    "import sys, sysconfig; print(sys.version.split()[0], '%d.%d' % sys.version_info[:2], sysconfig.get_path('stdlib'))"
)


def download() -> None:
    """Fill FOLDER where it is not full; the gapless in it is always this one. Raises CalledProcessError."""
    wheels(FOLDER, *WHEELS)
    full, wanted = FOLDER / "full", f"{version()} {NODE}"
    if full.exists() and full.read_text() == wanted:
        return
    _run("npm", "pack", "--silent", f"--pack-destination={FOLDER}", NODE)
    _pack()
    full.write_text(wanted)


def wheels(folder: Path, *wanted: str) -> None:
    """Fill `folder` with wheels: `gapless[serve,cli]`, `wanted`, and what they need. Raises CalledProcessError."""
    ours = build(folder)
    needed = (one for one in metadata.requires("gapless") or () if "serve" in one or "cli" in one)
    full, names = folder / "wheels", " ".join((version(), *needed, *wanted))
    if full.exists() and full.read_text() == names:
        return
    about = ["--disable-pip-version-check", "--only-binary=:all:", f"--python-version={version()}", f"--dest={folder}"]
    _run(sys.executable, "-m", "pip", "download", "-qq", *about, f"{ours}[serve,cli]", *wanted)
    full.write_text(names)


def locked(lock: Path) -> None:
    """Add to FOLDER what the file `lock` names, by its hashes. Raises CalledProcessError."""
    full, text = FOLDER / f"{lock.parent.name}.lock", f"{version()} {lock.read_text()}"
    if full.exists() and full.read_text() == text:
        return
    about = ["--disable-pip-version-check", "--only-binary=:all:", f"--python-version={version()}", f"--dest={FOLDER}"]
    _run(sys.executable, "-m", "pip", "download", "-qq", *about, "--no-deps", "--require-hashes", "-r", str(lock))
    full.write_text(text)


def build(folder: Path) -> Path:
    """Build gapless's wheel into `folder`, where no other is then. Raises CalledProcessError."""
    for old in folder.glob("gapless-*.whl"):
        old.unlink()
    argv = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    subprocess.run(argv, cwd=PROJECT, check=True, timeout=120, capture_output=True)
    [ours] = folder.glob("gapless-*.whl")
    return ours


def version() -> str:
    """Of the hosts' Python, in full."""
    return _about()[0]


def _pack() -> None:
    """Make of the hosts' Python what uv downloads when it brings one of its own."""
    _, short, library = _about()
    with tarfile.open(FOLDER / INTERPRETER, "w:gz", compresslevel=1, dereference=True) as archive:
        for name in ("python", "python3", f"python{short}"):
            archive.add(PYTHON, f"python/bin/{name}")
        archive.add(library, f"python/lib/python{short}", filter=_kept)


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if any(one in member.name for one in LEFT_OUT) else member


def _about() -> list[str]:
    return _run("chroot", LOWER or "/", PYTHON, "-c", ABOUT).split()


def _run(*argv: str) -> str:
    return subprocess.run(argv, cwd=PROJECT, check=True, timeout=300, stdout=subprocess.PIPE, text=True).stdout
