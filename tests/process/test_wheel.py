"""The wheel that users install: everything is in it, and it works without the sources beside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.host.host import REQUIREMENTS
from tests.support import APPS, get, listening, start

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Python finds the installed wheel, and what it needs, before the sources."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(folder), str(wheel)], check=True, timeout=120)
    env = {**os.environ, "PYTHONPATH": str(folder)}
    where = [sys.executable, "-c", "import gapless; print(gapless.__file__)"]
    said = subprocess.run(where, env=env, cwd=folder, capture_output=True, text=True, check=True)
    assert Path(said.stdout.strip()).is_relative_to(folder)
    return env


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    """Templates and py.typed as well as modules, the collection, and nothing else but what pip needs."""
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name for name in names if not name.partition("/")[0].endswith((".dist-info", ".data"))}
    places = {SOURCE: "", ROOT / "ansible": "gapless/fleet/collection/"}
    ours = {
        f"{place}{path.relative_to(folder)}"
        for folder, place in places.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == ours


def test_man_finds_the_page_of_the_wheel_and_shows_it_whole(wheel: Path, tmp_path: Path) -> None:
    """Where pip installs into a prefix whose bin is on the PATH; groff has nothing to say against the page."""
    if os.geteuid() == 0:
        subprocess.run([REQUIREMENTS, "tools"], check=True, timeout=300)
    if not shutil.which("man"):
        pytest.skip("there is no man, and only root can install it")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--ignore-installed", "--prefix", str(tmp_path), str(wheel)], check=True, timeout=120)
    env = {name: value for name, value in os.environ.items() if name != "MANPATH"}
    env |= {"PATH": f"{tmp_path}/bin:{env['PATH']}", "LC_ALL": "C.UTF-8", "MANROFFOPT": "-ww"}

    def man(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["man", *argv], env=env, capture_output=True, text=True, check=True, timeout=60)

    page = man("-w", "gapless").stdout.strip()
    assert page == f"{tmp_path}/share/man/man1/gapless.1"
    shown = man("--warnings", "-l", page)
    assert shown.stderr == ""
    assert re.search(r"^ +gapless deploy \[OPTIONS\] \[SOURCE\]$", shown.stdout, re.MULTILINE)
    assert "\N{EN DASH}" in shown.stdout  # no sign is lost


def test_templates_are_found(installed: dict[str, str], tmp_path: Path) -> None:
    """The example of all settings, and the units of systemd, come from files in the wheel."""
    (tmp_path / "gapless.toml").write_text('name = "shop"\ncommand = "gapless serve app:app"\n')
    for argv, says in ((["config", "--example"], "[drain]"), (["config", "--units"], "NonBlocking=true")):
        command = [sys.executable, "-m", "gapless", *argv]
        done = subprocess.run(command, env=installed, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert says in done.stdout


def test_it_serves_and_proves(installed: dict[str, str], run: start, tmp_path: Path) -> None:
    """A server from the wheel answers a probe from the wheel, which writes its page."""
    with listening() as sock:
        serve = [sys.executable, "-m", "gapless", "serve", "app:app", "--app-dir", APPS]
        run(*serve, sockets=[sock], env=installed).says("serving")
        assert get(sock.getsockname())[0] == 200
        url = "http://{}:{}".format(*sock.getsockname())
        probe = [sys.executable, "-m", "gapless", "probe", url, "--duration", "1s", "--report", "proof.html"]
        done = subprocess.run(probe, env=installed, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "<html" in (tmp_path / "proof.html").read_text()
