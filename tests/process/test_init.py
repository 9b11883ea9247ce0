"""gapless init: what it guesses."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapless.config import parse
from tests.process.conftest import Project

CLONE = Path(__file__).parents[2].as_uri()  # where `make` installs from


@pytest.mark.parametrize(
    ("file", "installs"), [("requirements.txt", "-r requirements.txt"), ("pyproject.toml", "."), ("notes.txt", "")]
)
def test_a_project_with_dependencies_gets_a_build(project: Project, file: str, installs: str) -> None:
    """Each release gets an environment of its own, with this very gapless in it; without dependencies, no build."""
    (project.folder / "gapless.toml").unlink()
    (project.folder / file).touch()
    text = project.json("init", "-n")["text"]
    run = str(parse(text, project.folder / "gapless.toml").build.run).strip().splitlines()
    assert run == (
        [
            "python3 -m venv .venv",
            f".venv/bin/pip install --quiet {installs}",
            f'.venv/bin/pip install --quiet "gapless[serve] @ {CLONE}"',
        ]
        if installs
        else []
    )
