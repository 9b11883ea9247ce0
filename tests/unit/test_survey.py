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
        ("web.py", "from shop import application", "web:application", [], "/"),
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


@pytest.mark.parametrize(
    ("text", "app", "page"),
    [
        ("from flask import Flask\nsite = Flask(__name__)\n@site.get('/')\ndef index(): ...", "web:site", "/"),
        ("api = FastAPI()\napp = Cors(api)", "web:app", "/openapi.json"),
        ("app = FastAPI()\nsockets = socketio.ASGIApp(sio, app)", "web:sockets", "/openapi.json"),
        ("app = FastAPI()\nadmin = Admin(app)", "web:app", "/openapi.json"),
        ("from dash import Dash\napp = Dash()", "web:app.server", "/"),
        ("from httpbin import app", "web:app", "/"),
        ("app = Starlette(routes=[Route('/items', a), Route('/health', b)])", "web:app", "/health"),
        ("@get('/books')\ndef books(): ...\napp = Litestar([books])", "web:app", "/schema/openapi.json"),
        ("@get('/')\ndef home(): ...\napp = Litestar([home], path='/api')", "web:app", "/"),
        ("app = Flask(__name__)\n@app.route('/')\n@login_required\ndef index(): ...", "web:app", ""),
        ("mcp = FastMCP('x')\napp = mcp.streamable_http_app()", "web:app", ""),
        ("mcp = FastMCP('x')\n@mcp.custom_route('/health', methods=['GET'])\ndef up(r): ...\napp = mcp.http_app()",
         "web:app", "/health"),
    ],
)  # fmt: skip
def test_whatever_the_app_is_called_and_wrapped_in(tmp_path: Path, text: str, app: str, page: str) -> None:
    """What a framework made counts, not its name; what is wrapped around it is what visitors meet."""
    found = look(tmp_path, **{"web.py": text})
    assert (found.app, found.page) == (app, page)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from typer import Typer\napp = Typer()", "no app was found"),
        ("import celery\napp = celery.Celery('jobs')", "no app was found"),
        ("from celery import shared_task as app", "no app was found"),
        ("from aiohttp import web\napp = web.Application()", "docs/recipes.md"),
        ("from bottle import run\nrun()", "`app = bottle.default_app()`"),
        ("import streamlit as st\nst.write(1)", "cannot be handed a socket"),
        ("from fastmcp import FastMCP\nmcp = FastMCP('x')", "`app = mcp.http_app()`"),
        ("from mcp.server.mcpserver import MCPServer\nm = MCPServer()", "`app = m.streamable_http_app()`"),
        ("def main():\n    app = FastAPI()", "web.py, line 2: no server can import this FastAPI"),
    ],
)
def test_what_is_no_app_is_not_taken_for_one(tmp_path: Path, text: str, said: str) -> None:
    """Invariant 8: what has the name and serves nothing is told at once, with what makes an app of it."""
    found = look(tmp_path, **{"web.py": text})
    assert found.app == ""
    assert any(said in one for one in found.todo)


def test_a_second_app_beside_the_first_is_named(tmp_path: Path) -> None:
    """Which one is to be served, nobody but the author knows."""
    found = look(tmp_path, **{"a/main.py": FASTAPI.format(more=""), "b/main.py": FASTAPI.format(more="")})
    assert found.app == "a.main:app"
    assert any("b.main:app" in one for one in found.todo)


def test_modules_are_imported_from_where_they_import_each_other(tmp_path: Path) -> None:
    """`from app.x import …` in backend/app/main.py: backend is where Python looks."""
    files = {"backend/app/main.py": FASTAPI.format(more="from app.x import y"), "backend/app/x.py": "y = 1"}
    found = look(tmp_path, **files)
    assert (found.app, found.options) == ("app.main:app", ["--app-dir", "backend"])
    other = look(tmp_path / "src", **{"src/main.py": FASTAPI.format(more="from src.x import y"), "src/x.py": "y = 1"})
    assert (other.app, other.options) == ("src.main:app", [])


def test_needs_beside_the_code_are_a_project_of_their_own(tmp_path: Path) -> None:
    """In a monorepo the app's directory is the one for gapless.toml."""
    files = {"services/api/app/main.py": FASTAPI.format(more=""), "services/api/requirements.txt": ""}
    found = look(tmp_path, **files)
    assert found.installs is None
    assert any("`gapless init` in services/api" in one for one in found.todo)


@pytest.mark.parametrize(
    ("package", "more", "command", "build"),
    [
        ('{"scripts": {"start": "node --enable-source-maps srv.js"}}', {"package-lock.json": ""},
         "node srv.js", ["npm ci --omit=dev"]),
        ('{"main": "web.js", "dependencies": {"a": "1"}}', {"web.js": ""}, "node web.js", ["npm install --omit=dev"]),
        ('{"scripts": {"start": "node dist/main.js", "build": "tsc"}}', {"yarn.lock": ""},
         "node dist/main.js", ["yarn install --frozen-lockfile", "npm run build"]),
        ('{"scripts": {"start": "next start"}}', {}, "node FILE", []),
        ('{"scripts": {"build": "tailwind"}}', {}, "", []),
        ("{", {}, "", []),
    ],
)  # fmt: skip
def test_a_node_project(tmp_path: Path, package: str, more: dict[str, str], command: str, build: list[str]) -> None:
    """Its own `start`, what was locked, and machine code; how it takes the socket is its author's to write."""
    found = look(tmp_path, **{"package.json": package}, **more)
    assert (found.command, found.build, found.jit) == (command, build, bool(command))
    assert any("descriptor 3" in one for one in found.todo) == bool(command)


def test_a_node_server_that_takes_the_socket_has_nothing_left_to_do(tmp_path: Path) -> None:
    """As the example does; its page is found in the code."""
    text = 'server.listen(process.env.LISTEN_FDS ? { fd: 3 } : 8000); app.get("/health", up)'
    found = look(tmp_path, **{"package.json": "{}", "index.js": text})
    assert (found.command, found.page, found.todo) == ("node index.js", "/health", [])


@pytest.mark.parametrize(("file", "built"), [("main.go", "."), ("cmd/web/main.go", "./cmd/web")])
def test_a_go_project(tmp_path: Path, file: str, built: str) -> None:
    """The package that is a program is built."""
    text = 'package main\n\nfunc main() { http.HandleFunc("GET /healthz", up) }'
    found = look(tmp_path, **{"go.mod": "module shop", file: text})
    assert (found.command, found.build, found.page) == ("./server", [f"go build -o server {built}"], "/healthz")
    assert any("descriptor 3" in one for one in found.todo)


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
        ('F = "a.db"\nURL = f"sqlite:///{F}"', {"DATABASE_URL": "sqlite:///$GAPLESS_SHARED/a.db"}, True),
        ('URL = "sqlite:///" + join(HERE, "a.db")', {"DATABASE_URL": "sqlite:///$GAPLESS_SHARED/a.db"}, True),
        ("U = environ.get('U') or 'sqlite:///' + join(HERE, 'a.db')", {"U": "sqlite:///$GAPLESS_SHARED/a.db"}, False),
        (
            "e = create_engine(f'sqlite:///{BASE}/a.db', echo=True)",
            {"DATABASE_URL": "sqlite:///$GAPLESS_SHARED/a.db"},
            True,
        ),
        ("URL = f\"sqlite:///{environ['GAPLESS_SHARED']}/a.db\"", {}, False),
        ('URL = f"sqlite:///{path}"', {}, False),
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


def test_a_procfile_says_what_is_served(tmp_path: Path) -> None:
    """Its `web` names the app, whatever else there is; the rest runs beside it or before a release."""
    procfile = "web: gunicorn -b :$PORT 'site.web:make()'\nworker: celery -A site worker\nrelease: flask db upgrade"
    files = {"app.py": FASTAPI.format(more=""), "site/web.py": "def make():\n    app = Flask(__name__)\n    return app"}
    found = look(tmp_path, Procfile=procfile, **files)
    assert (found.app, found.options, found.kind) == ("site.web:make", ["--factory"], "Flask")
    assert (found.processes, found.migrate) == ({"worker": "celery -A site worker"}, "flask db upgrade")


def test_a_line_for_a_shell_is_left_to_the_author(tmp_path: Path) -> None:
    """No shell runs a process: a line that wants one would not start."""
    found = look(tmp_path, Procfile="web: uvicorn app:app\nworker: cd jobs && python run.py", **{"app.py": "app = 1"})
    assert (found.app, found.processes) == ("app:app", {})
    assert any("`worker` wants a shell" in one for one in found.todo)


def test_a_module_without_an_object_is_gunicorns_application(tmp_path: Path) -> None:
    """As gunicorn itself takes it."""
    found = look(tmp_path, Procfile="web: gunicorn shop.wsgi", **{"shop/wsgi.py": "application = wrap(1)"})
    assert found.app == "shop.wsgi:application"


def test_fastify_drops_a_descriptor_that_its_own_listen_is_given(tmp_path: Path) -> None:
    """So another line is advised."""
    found = look(tmp_path, **{"package.json": '{"main": "a.js", "dependencies": {"fastify": "^5"}}', "a.js": ""})
    assert any("fastify.server.listen({ fd: 3 }, ready)" in one for one in found.todo)


def test_settings_for_visitors_go_before_those_for_local_work(tmp_path: Path) -> None:
    """As Wagtail's generator makes them: wsgi.py names `dev`, whose key and hosts the others lack."""
    module = 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings.dev")'
    files = {
        "manage.py": module,
        "shop/wsgi.py": module,
        "shop/settings/base.py": "DATABASES = {'d': {'NAME': BASE_DIR / 'a'}}",
    }
    files |= {f"shop/settings/{name}.py": "from .base import *" for name in ("dev", "production")}
    found = look(tmp_path, **files)
    assert found.env["DJANGO_SETTINGS_MODULE"] == "shop.settings.production"
    assert any('production.py: no key is set: `SECRET_KEY = os.environ["SECRET_KEY"]`' in one for one in found.todo)
    assert any("without DEBUG nobody is answered" in one for one in found.todo)
    assert any(one.startswith("shop/settings/base.py: the database is in the release") for one in found.todo)


@pytest.mark.parametrize(
    ("files", "app", "kind", "page"),
    [
        (
            {"wsgi.py": "from shop import create_app as make\napp = make()", "shop.py": FLASKR.format(arguments="a")},
            "wsgi:app", "", "/",
        ),
        ({"wsgi.py": "from shop import create_app\napp = create_app()", "shop.py": FLASKR.format(arguments="a")},
         "wsgi:app", "Flask", "/"),
        ({"app.py": "def make():\n    it = FastAPI()\n    return it\napp = make()"},
         "app:app", "FastAPI", "/openapi.json"),
        ({"web.py": "from jobs import app", "jobs/app.py": "import celery\napp = celery.Celery()"}, "", "", None),
        ({"app.py": "app = wrap(1)", "tools/mock.py": "mock = Flask(__name__)"}, "app:app", "", "/"),
        ({"app.py": "shop = Flask(__name__)", "tools/mock.py": "app = wrap(1)"}, "app:shop", "Flask", ""),
        ({"app.py": "import gradio\napp = gradio.mount_gradio_app(FastAPI(), it)"}, "app:app", "", "/"),
        ({"app.py": "from nicegui import app, ui\nui.run()"}, "", "", None),
        ({"run.py": "if __name__ == '__main__':\n    app = Flask(__name__)"}, "", "", None),
    ],
)  # fmt: skip
def test_an_app_that_its_own_factory_makes(
    tmp_path: Path, files: dict[str, str], app: str, kind: str, page: str | None
) -> None:
    """What has an app's name goes before what has another one; what only a program has, no server can import."""
    found = look(tmp_path, **files)
    assert (found.app, found.kind, found.page) == (app, kind, page)
