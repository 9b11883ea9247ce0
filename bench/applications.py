"""Real applications as their documentation has them, and what is left to their authors after `gapless init`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Application:
    """A project before gapless, the commands that do what is left after `init`, and both in words for the table.

    `made` are commands that make more of it, such as a framework's generator; `fails` is what comes of it where nothing
    of what is left to its author is done.
    """

    title: str
    files: dict[str, str]
    made: tuple[str, ...] = ()
    written: dict[str, str] = field(default_factory=dict)  # over `files`, after `init`
    edited: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # then, by file: a part of its text, and another one
    then: tuple[str, ...] = ()  # commands after that
    author: str = ""
    fails: str = ""


def generated(packages: str, command: str) -> tuple[str, ...]:
    """The commands that install a generator beside the project, and have it make one."""
    return "python3 -m venv ../maker", f"../maker/bin/pip install -q {packages}", f"../maker/bin/{command} > said.txt"


PYPISERVER = """\
import pypiserver

app = pypiserver.app(roots=["packages"])
"""
RADICALE = """\
[storage]
filesystem_folder = /srv/radicale/shared/collections

[auth]
type = htpasswd
htpasswd_filename = users
htpasswd_encryption = plain
"""
DASH = """\
from dash import Dash, Input, Output, callback, dcc, html

app = Dash(__name__)
app.layout = html.Div([dcc.Input(id="name", value="you"), html.Div(id="said")])


@callback(Output("said", "children"), Input("name", "value"))
def say(name):
    return f"hello {name}"


if __name__ == "__main__":
    app.run(debug=True)
"""
MOTO = """\
from moto.server import DomainDispatcherApplication, create_backend_app

app = DomainDispatcherApplication(create_backend_app)
"""
MCP = '''\
from mcp.server.mcpserver import MCPServer
from starlette.responses import PlainTextResponse

mcp = MCPServer("Demo")


@mcp.tool()
def add(a: int, b: int) -> int:
    """Add two numbers"""
    return a + b
'''
MCP_RUN = """

if __name__ == "__main__":
    mcp.run(transport="streamable-http")
"""
MCP_APP = """

@mcp.custom_route("/health", methods=["GET"])
async def health(request):
    return PlainTextResponse("ok")


app = mcp.streamable_http_app()
"""
SSE = """\
import asyncio

import uvicorn
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route


async def numbers(minimum, maximum):
    for i in range(minimum, maximum + 1):
        await asyncio.sleep(0.9)
        yield dict(data=i)


async def sse(request):
    return EventSourceResponse(numbers(1, 5))


app = Starlette(debug=True, routes=[Route("/", endpoint=sse)])

if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=8000, log_level="info")
"""
FASTAPI = """\
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlmodel import Field, Session, SQLModel, create_engine, select


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)


sqlite_file_name = "database.db"
sqlite_url = f"sqlite:///{sqlite_file_name}"

engine = create_engine(sqlite_url, connect_args={"check_same_thread": False})


@asynccontextmanager
async def lifespan(app):
    SQLModel.metadata.create_all(engine)
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/heroes/")
def read_heroes() -> list[Hero]:
    with Session(engine) as session:
        return session.exec(select(Hero)).all()
"""
FLASKR = '''\
import os
import sqlite3

from flask import Flask


def create_app(test_config=None):
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_mapping(SECRET_KEY="dev", DATABASE=os.path.join(app.instance_path, "flaskr.sqlite"))

    try:
        os.makedirs(app.instance_path)
    except OSError:
        pass

    @app.route("/hello")
    def hello():
        return "Hello, World!"

    @app.cli.command("init-db")
    def init_db():
        """Create new tables."""
        db = sqlite3.connect(app.config["DATABASE"])
        db.execute("CREATE TABLE post (id INTEGER PRIMARY KEY, title TEXT)")

    return app
'''
FLASKR_TOML = """\
[project]
name = "flaskr"
version = "1.0.0"
description = "The basic blog app built in the Flask tutorial."
dependencies = ["flask"]

[build-system]
requires = ["flit_core<4"]
build-backend = "flit_core.buildapi"
"""
LITESTAR = """\
from litestar import Litestar, get


@get("/books/{book_id:int}")
async def get_book(book_id: int) -> dict[str, int]:
    return {"book_id": book_id}


app = Litestar([get_book])
"""
PACKAGE = (
    '{"name": "shop", "version": "1.0.0", "scripts": {"start": "node index.js"}, "dependencies": {"NAME": "^5.0.0"}}\n'
)
LOCK = ("npm install --silent --package-lock-only",)
EXPRESS = """\
const express = require('express')
const app = express()
const port = 3000

app.get('/', (req, res) => {
  res.send('Hello World!')
})

app.listen(port, () => {
  console.log(`Example app listening on port ${port}`)
})
"""
DRAIN = """
server.keepAliveTimeout = 60_000

process.on('SIGTERM', () => {
  if (draining) return
  draining = true
  net.Server.prototype.close.call(server, () => process.exit())
  setTimeout(() => server.closeIdleConnections(), 35_000).unref()
})
"""
READY = """\
const { execFile } = require('node:child_process')
const net = require('node:net')
let draining = false
const ready = () => execFile('systemd-notify', ['--ready'])
"""
EXPRESS_TAKES = f"""{READY}\
const express = require('express')
const app = express()
const port = 3000

app.use((req, res, next) => {{
  if (draining) res.setHeader('Connection', 'close')
  next()
}})

app.get('/', (req, res) => {{
  res.send('Hello World!')
}})

const server = process.env.LISTEN_FDS ? app.listen({{ fd: 3 }}, ready) : app.listen(port)
{DRAIN}"""
FASTIFY = """\
const fastify = require('fastify')({ logger: true })

fastify.get('/', async (request, reply) => {
  return { hello: 'world' }
})

fastify.listen({ port: 3000 }, (err) => {
  if (err) throw err
})
"""
FASTIFY_TAKES = f"""{READY}\
const fastify = require('fastify')({{ logger: true }})
const server = fastify.server

fastify.addHook('onRequest', async (request, reply) => {{
  if (draining) reply.header('Connection', 'close')
}})

fastify.get('/', async (request, reply) => {{
  return {{ hello: 'world' }}
}})

if (process.env.LISTEN_FDS) fastify.ready().then(() => server.listen({{ fd: 3 }}, ready))
else fastify.listen({{ port: 3000 }})
{DRAIN}"""
GO = """\
package main

import (
	"fmt"
	"log"
	"net/http"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello")
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
"""
KEY = 'SECRET_KEY = os.environ["SECRET_KEY"]'
HOSTS = 'ALLOWED_HOSTS = ["localhost", "127.0.0.1"]'
SILENT = "`it did not say READY=1 in time`, and what it has to do instead"
ALL: dict[str, Application] = {
    "datasette": Application(
        "datasette",
        {
            "requirements.txt": "datasette\n",
            "app.py": "from datasette.app import Datasette\n\napp = Datasette(immutables=['shop.db']).app()\n",
        },
        ("""python3 -c 'import sqlite3; sqlite3.connect("shop.db").execute("CREATE TABLE goods (name TEXT)")'""",),
    ),
    "httpbin": Application(
        "httpbin: a package and no code",
        {"requirements.txt": "httpbin\n"},
        edited={"gapless.toml": {"MODULE:APP": "httpbin:app"}},
        author="the app in `command`",
        fails="`up` makes nothing: `command` has MODULE:APP, where `init` found no app",
    ),
    "pypiserver": Application(
        "pypiserver",
        {"requirements.txt": "pypiserver\n", "wsgi.py": PYPISERVER, "packages/.gitkeep": ""},
        edited={
            "wsgi.py": {"import": "import os\n\nimport", '"packages"': 'os.environ.get("GAPLESS_SHARED", "packages")'}
        },
        author="packages in `$GAPLESS_SHARED`",
        fails="it comes up; nobody can write its packages",
    ),
    "radicale": Application(
        "Radicale",
        {"requirements.txt": "radicale\n", "wsgi.py": "from radicale import application\n"},
        written={"radicale.conf": RADICALE, "users": "me:secret\n"},
        edited={
            "gapless.toml": {
                'path = "/" ': 'path = "/.web/" ',
                "# `gapless config": '[env]\nRADICALE_CONFIG = "radicale.conf"\n\n# `gapless config',
            }
        },
        author="a configuration with its collections in `$GAPLESS_SHARED`; a page to check",
        fails="`Read-only file system: '/var/lib/radicale'`: data belongs into `$GAPLESS_SHARED`; then a redirect",
    ),
    "wagtail": Application(
        "Wagtail, as generated",
        {},
        # Its generator wants a Django that Debian 12's Python cannot run.
        (*generated("wagtail", "wagtail start shop ."), "sed -i 's/^Django.*/Django>=5.2,<5.3/' requirements.txt"),
        edited={
            "shop/settings/production.py": {
                "from .base import *": f"import os\n\nfrom .base import *\n\n{KEY}\n{HOSTS}"
            },
            "shop/settings/base.py": {
                "from pathlib": "import os\nfrom pathlib",
                '"NAME": BASE_DIR / "db.sqlite3"': '"NAME": os.environ.get("DATABASE", BASE_DIR / "db.sqlite3")',
                'MEDIA_ROOT = BASE_DIR / "media"': 'MEDIA_ROOT = os.environ.get("MEDIA_ROOT", BASE_DIR / "media")',
            },
            "gapless.toml": {"listen =": 'env_file = "shop.env"\nlisten ='},
        },
        then=(
            "echo SECRET_KEY=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \\n') > shop.env",
            "echo shop.env >> .gitignore",
        ),
        author="SECRET_KEY, ALLOWED_HOSTS, DATABASE, MEDIA_ROOT: the lines that `init` lists",
        fails="`unable to open database file`: data belongs into `$GAPLESS_SHARED`",
    ),
    "dash": Application("Dash", {"requirements.txt": "dash\n", "app.py": DASH}),
    "moto": Application("moto server", {"requirements.txt": "moto[server]\n", "app.py": MOTO}),
    "mcp": Application(
        "an MCP server",
        {"requirements.txt": "mcp\n", "server.py": MCP + MCP_RUN},
        written={"server.py": MCP + MCP_APP},
        then=("rm gapless.toml", "gapless init"),
        author="`app = mcp.streamable_http_app()` and a page to check, as `init` says; then `init` again",
        fails="`up` makes nothing: as with httpbin",
    ),
    "sse": Application("sse-starlette", {"requirements.txt": "sse-starlette\nuvicorn\nstarlette\n", "main.py": SSE}),
    "django": Application(
        "Django, as generated",
        {"requirements.txt": "django\n"},
        generated("django", "django-admin startproject shop ."),
        edited={
            "shop/settings.py": {
                "from pathlib": "import os\nfrom pathlib",
                "DEBUG = True": 'DEBUG = os.environ.get("DEBUG") == "1"',
                "SECRET_KEY = ": 'SECRET_KEY = os.environ.get("SECRET_KEY") or ',
                "ALLOWED_HOSTS = []": HOSTS,
                "'NAME': BASE_DIR / 'db.sqlite3'": "'NAME': os.environ.get('DATABASE', BASE_DIR / 'db.sqlite3')",
                "STATIC_URL = 'static/'": "STATIC_URL = 'static/'\nSTATIC_ROOT = BASE_DIR / 'staticfiles'",
            }
        },
        author="DEBUG, SECRET_KEY, ALLOWED_HOSTS, DATABASE, STATIC_ROOT: the lines that `init` lists",
        fails="Django's own words: `without having set the STATIC_ROOT setting`",
    ),
    "fastapi": Application(
        "FastAPI with SQLModel and SQLite",
        {"requirements.txt": "fastapi\nsqlmodel\n", "app/__init__.py": "", "app/main.py": FASTAPI},
        edited={
            "app/main.py": {
                "from contextlib": "import os\nfrom contextlib",
                'f"sqlite:///{sqlite_file_name}"': 'os.environ.get("DATABASE_URL", f"sqlite:///{sqlite_file_name}")',
            }
        },
        author="the line by which DATABASE_URL counts, as `init` says",
        fails="`unable to open database file`: data belongs into `$GAPLESS_SHARED`",
    ),
    "flask": Application(
        "Flask's tutorial: a factory",
        {"pyproject.toml": FLASKR_TOML, "flaskr/__init__.py": '"""The tutorial."""\n' + FLASKR},
        edited={
            "flaskr/__init__.py": {"Flask(__name__": 'Flask(__name__, instance_path=os.environ.get("GAPLESS_SHARED")'},
            "gapless.toml": {'# path = "/health"': 'path = "/hello"'},
        },
        author="`instance_path`, and `/hello` to check, as `init` says",
        fails="it comes up; its first write ends in `unable to open database file`",
    ),
    "litestar": Application("Litestar", {"requirements.txt": "litestar\n", "app.py": LITESTAR}),
    "express": Application(
        "Express",
        {"package.json": PACKAGE.replace("NAME", "express"), ".gitignore": "node_modules\n", "index.js": EXPRESS},
        LOCK,
        {"index.js": EXPRESS_TAKES},
        author="the socket, READY=1 and the drain, as `init` and the example say",
        fails=SILENT,
    ),
    "fastify": Application(
        "Fastify",
        {"package.json": PACKAGE.replace("NAME", "fastify"), ".gitignore": "node_modules\n", "index.js": FASTIFY},
        LOCK,
        {"index.js": FASTIFY_TAKES},
        author="the same; its own `listen` takes no descriptor, its server's does",
        fails=SILENT,
    ),
    "go": Application(
        "Go, net/http",
        {"go.mod": "module example.com/shop\n\ngo 1.19\n", "main.go": GO},
        written={"main.go": (EXAMPLES / "go/server.go").read_text()},
        author="the socket, READY=1 and the drain: the example's lines",
        fails=SILENT,
    ),
}
