"""gapless init: what it guesses, on small projects and on those that frameworks generate."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import gapless
from gapless.config import parse
from tests import generated
from tests.process.conftest import Project
from tests.support import get

PIP = ".venv/bin/pip install --quiet"
VENV = "python3 -m venv .venv"
PACKAGE = '[project]\nname = "shop"\nversion = "1"\n[build-system]\nrequires = ["hatchling"]'


@pytest.mark.parametrize(
    ("files", "installs", "add"),
    [
        (["requirements.txt"], [VENV, f"{PIP} -r requirements.txt"], PIP),
        (["pyproject.toml"], [VENV, f"{PIP} ."], PIP),
        (["pyproject.toml", "uv.lock"], ["uv sync --frozen --no-dev"], "uv pip install --quiet"),
        (["pyproject.toml", "poetry.lock", "requirements.txt"], ["poetry install --only main --no-root"], PIP),
        (["notes.txt"], [], ""),
    ],
)
def test_a_project_with_dependencies_gets_a_build(
    project: Project, files: list[str], installs: list[str], add: str
) -> None:
    """Each release gets an environment of its own, of what is locked, with this very gapless; else, no build."""
    (project.folder / "gapless.toml").unlink()
    for file in files:
        (project.folder / file).write_text(PACKAGE if file == "pyproject.toml" else "")
    document = project.json("init", "-n")
    run = str(parse(document["text"], project.folder / "gapless.toml").build.run).strip().splitlines()
    wheel = f"vendor/gapless-{metadata.version('gapless')}-py3-none-any.whl"
    assert run == ([*installs, f'{add} "./{wheel}[serve]"'] if installs else [])
    assert document["wheel"] == (wheel if installs else None)
    assert not (project.folder / "vendor").exists(), "a dry run writes nothing"


def test_a_build_gets_gapless_from_a_file_that_everybody_can_read(project: Project, tmp_path: Path) -> None:
    """Installed from a clone, which is in somebody's home: what is packed into the project is what runs here."""
    (project.folder / "gapless.toml").unlink()
    (project.folder / "requirements.txt").touch()
    wheel = project.folder / project.json("init")["wheel"]
    assert str(Path(gapless.__file__).parent) not in (project.folder / "gapless.toml").read_text()
    pip = (sys.executable, "-m", "pip", "-q")
    subprocess.run(
        (*pip, "install", "--no-deps", "--no-index", "--target", str(tmp_path / "to"), str(wheel)),
        check=True,
        timeout=60,
    )
    said = subprocess.check_output([sys.executable, "-m", "gapless", "--version"], cwd=tmp_path / "to", text=True)
    assert said == project("--version")
    package = Path(gapless.__file__).parent
    ours = {str(one.relative_to(package.parent)) for one in package.rglob("*.py")}
    assert ours <= set(zipfile.ZipFile(wheel).namelist())


def test_from_djangos_own_generator_to_a_proof(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to do first is done as it is said; then style sheets, database and admin are there after two deploys."""
    for file in project.folder.iterdir():
        file.unlink()
    generated.django(project.folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    document = project.json("init")
    assert (document["app"], document["kind"]) == ("shop.wsgi:application", "Django")
    settings = project.folder / generated.SETTINGS
    settings.write_text(generated.as_advised(settings.read_text(), document["todo"]))
    toml = project.folder / "gapless.toml"
    toml.write_text(toml.read_text().replace(":8000", f":{project.port}") + '[drain]\nlinger = "1s"\n')
    supervisor = project.start("run")
    supervisor.says(" is live.", 60)
    assert project.json("deploy", "--prove", "--watch", "100ms")["outcome"] == "switched"
    assert get(("127.0.0.1", project.port), "/static/admin/css/base.css")[0] == 200
    assert b"csrfmiddlewaretoken" in get(("127.0.0.1", project.port), "/admin/login/")[2]
    assert (project.home / "shared/db.sqlite3").stat().st_size > 0
