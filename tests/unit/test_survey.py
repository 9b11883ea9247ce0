"""What `gapless init` reads out of a project: its app, its data, its needs, and what its author has to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapless import config, survey
from gapless.cli import init

FASTAPI = """
from fastapi import FastAPI
{more}
app = FastAPI()
"""
FLASKR = """
import os
from flask import Flask

def create_app({arguments}):
    app = Flask(__name__, instance_relative_config=True)

    @app.route("/auth/login", methods=["GET", "POST"])
    def login(): ...

    @app.route("/")
    def index(): ...

    return app
"""


def look(folder: Path, **files: str) -> survey.Findings:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return survey.of(folder)


@pytest.mark.parametrize(
    ("file", "text", "app", "options", "page"),
    [
        ("main.py", FASTAPI.format(more=""), "main:app", [], "/openapi.json"),
        (
            "shop/main.py",
            FASTAPI.format(more="") + '@app.get("/health")\ndef health(): ...',
            "shop.main:app",
            [],
            "/health",
        ),
        (
            "src/shop/__init__.py",
            FLASKR.format(arguments="test=None"),
            "shop:create_app",
            ["--factory", "--app-dir", "src"],
            "/",
        ),
        ("web.py", "import dash\napp = dash.Dash()\nserver = app.server", "web:server", [], "/"),
        ("web.py", "async def app(scope, receive, send): ...", "web:app", [], "/"),
        ("web.py", "from shop import application", "", [], None),
        ("tests/app.py", FASTAPI.format(more=""), "", [], None),
        ("web.py", "app = (", "", [], None),
    ],
)
def test_the_app_and_a_page_of_it(
    tmp_path: Path, file: str, text: str, app: str, options: list[str], page: str | None
) -> None:
    """An object before a factory, what a framework made before what only has the name."""
    found = look(tmp_path, **{file: text})
    assert (found.app, found.options, found.page) == (app, options, page)


def test_the_object_of_a_framework_goes_before_what_has_the_name(tmp_path: Path) -> None:
    """A command line's `app` is none that a server can run."""
    found = look(tmp_path, **{"app.py": "app = Typer()", "web.py": FASTAPI.format(more="")})
    assert found.app == "web:app"


def test_a_factory_that_needs_arguments_is_not_called(tmp_path: Path) -> None:
    """What to write instead is said, and no other thing is taken for the app."""
    found = look(tmp_path, **{"shop.py": FLASKR.format(arguments="config")})
    assert found.app == ""
    assert any("create_app needs 1 argument" in one and "`app = create_app(…)`" in one for one in found.todo)


@pytest.mark.parametrize(
    ("line", "env", "said"),
    [
        ('URL = "sqlite:///./sql_app.db"', {"DATABASE_URL": "sqlite:///$GAPLESS_SHARED/sql_app.db"}, True),
        ('URL = os.environ.get("DB", "sqlite:///a.db")', {"DB": "sqlite:///$GAPLESS_SHARED/a.db"}, False),
        (
            'class S:\n    db_url: str = "sqlite+aiosqlite:///a.db"',
            {"DB_URL": "sqlite+aiosqlite:///$GAPLESS_SHARED/a.db"},
            False,
        ),
        ('DB = sqlite3.connect("shop.db")', {"DATABASE": "$GAPLESS_SHARED/shop.db"}, True),
        ('URL = "sqlite:///:memory:"', {}, False),
        ('# "sqlite:///a.db"', {}, False),
    ],
)
def test_a_database_goes_to_what_outlives_a_release(tmp_path: Path, line: str, env: dict[str, str], said: bool) -> None:
    """Where the code lets the environment say it, nothing is to do."""
    found = look(tmp_path, **{"main.py": FASTAPI.format(more=line), "requirements.txt": ""})
    assert found.env == env
    assert any("main.py" in one and "os.environ.get(" in one for one in found.todo) == said


def test_the_instance_directory_of_flask_is_no_place_for_data(tmp_path: Path) -> None:
    """It is in the release, or in its virtual environment."""
    found = look(tmp_path, **{"flaskr/__init__.py": FLASKR.format(arguments="test=None")})
    assert any('instance_path=os.environ.get("GAPLESS_SHARED")' in one for one in found.todo)


def test_what_flask_migrate_migrates(tmp_path: Path) -> None:
    """Its configuration lies among the migrations."""
    found = look(tmp_path, **{"shop.py": FLASKR.format(arguments=""), "migrations/alembic.ini": ""})
    assert found.migrate == "flask --app shop db upgrade"


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        (["uv.lock", "pyproject.toml"], ["uv sync --frozen --no-dev"]),
        (["poetry.lock", "pyproject.toml"], ["poetry install --only main --no-root"]),
        (
            ["requirements/production.txt"],
            ["python3 -m venv .venv", ".venv/bin/pip install --quiet -r requirements/production.txt"],
        ),
        (["setup.py"], ["python3 -m venv .venv", ".venv/bin/pip install --quiet ."]),
    ],
)
def test_what_installs_the_needs(tmp_path: Path, files: list[str], lines: list[str]) -> None:
    """A lock before what was locked."""
    found = look(tmp_path, **dict.fromkeys(files, ""))
    assert found.installs
    assert list(found.installs.lines) == lines


def test_a_project_that_is_no_package_installs_what_it_depends_on(tmp_path: Path) -> None:
    """Without a [build-system] setuptools would guess, and refuse two directories side by side."""
    found = look(tmp_path, **{"pyproject.toml": '[project]\nname = "a"\nversion = "1"\ndependencies = ["b"]'})
    assert found.installs
    assert found.installs.lines[-1] == ".venv/bin/pip install --quiet -r .venv/needs.txt"
    assert any("`uv lock`" in one for one in found.todo)


@pytest.mark.parametrize(
    ("file", "said"),
    [("Pipfile.lock", "`pipenv requirements > requirements.txt`"), ("app.py", "`pip freeze > requirements.txt`")],
)
def test_needs_that_are_not_known_are_said(tmp_path: Path, file: str, said: str) -> None:
    """Invariant 8: the first deploy is not where one learns of it."""
    found = look(tmp_path, **{"web.py": FASTAPI.format(more=""), file: ""})
    assert found.installs is None
    assert any(said in one for one in found.todo)


def test_linters_settings_alone_are_no_project(tmp_path: Path) -> None:
    """A pyproject.toml that names no needs installs nothing."""
    assert look(tmp_path, **{"pyproject.toml": "[tool.ruff]\nline-length = 100"}).installs is None


@pytest.mark.parametrize("below", ["", "site"])
def test_uploads_of_django_outlive_their_release(tmp_path: Path, below: str) -> None:
    """Where MEDIA_ROOT is beside the code, the release has a link there, and visitors get them at MEDIA_URL."""
    media = 'BASE_DIR = 1\nMEDIA_ROOT = BASE_DIR / "files" / "media"\nMEDIA_URL = "/m/"\n'
    base = f"{below}/" if below else ""
    manage = 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")'
    files = {f"{base}manage.py": manage, f"{base}shop/settings.py": media, f"{base}shop/wsgi.py": ""}
    found = look(tmp_path, **files)
    assert (found.shared, found.uploads) == ({f"{base}files/media": "media"}, {"/m": "media"})
    text = init.render("shop", found, "")
    read = config.parse(text, tmp_path / "gapless.toml")
    assert (read.shared, read.uploads) == (found.shared, found.uploads)


def test_the_example_says_what_is_found_in_it() -> None:
    """What `gapless init` writes of examples/django's files, and what is in its gapless.toml, is the same."""
    folder = Path(__file__).parents[2] / "examples/django"
    found, said = survey.of(folder), config.load(folder)
    assert found.todo == []
    assert (found.assets, found.shared, found.uploads) == (said.assets.paths, said.shared, said.uploads)
    assert (found.migrate, found.page) == (said.release.migrate, said.check.path)
