"""docs/recipes.md: every recipe runs as it stands there, through a deploy."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.process.conftest import Project

DOCUMENT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
SERVERS = DOCUMENT.partition("# Builds that last")[0]  # those are tests/host/test_build_tools.py's
RECIPES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", SERVERS, re.MULTILINE | re.DOTALL))
FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_serves_and_is_deployed(project: Project, title: str) -> None:
    """A program copied from the page adopts the socket, says READY, answers, and is replaced by its next release."""
    for name, text in FILE.findall(RECIPES[title]):
        (project.folder / name).write_text(text)
    config = project.folder / "gapless.toml"
    text = config.read_text().replace("python server.py", f"{sys.executable} server.py")
    config.write_text(
        f'{text}listen = "127.0.0.1:{project.port}"\ndrain = {{ linger = 1, requests = 5, streams = 5 }}\n'
    )
    project.supervise()
    assert "hello" in project.answers()
    deployed = project.json("deploy")
    assert "hello" in project.answers()
    assert deployed["previous"] != deployed["release"]


def test_there_is_a_recipe_for_each_promised_server() -> None:
    """asyncio, aiohttp, WSGI, Flask, Django, Starlette/FastAPI, http.server."""
    assert len(RECIPES) == 7
