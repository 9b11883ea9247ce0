"""gapless init: what it guesses."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapless.config import parse
from tests.process.conftest import Project

CLONE = Path(__file__).parents[2].as_uri()  # where `make` installs from


PIP = ".venv/bin/pip install --quiet"
VENV = "python3 -m venv .venv"


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
        (project.folder / file).touch()
    text = project.json("init", "-n")["text"]
    run = str(parse(text, project.folder / "gapless.toml").build.run).strip().splitlines()
    assert run == ([*installs, f'{add} "gapless[serve] @ {CLONE}"'] if installs else [])
