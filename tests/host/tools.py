"""A project for each tool that users build with, as they would write it; @REGISTRY@ stands for a URL."""

from __future__ import annotations

from dataclasses import dataclass

ASGI = """
import json, os, sys
import msgspec

async def app(scope, receive, send):
    said = {"release": os.environ["GAPLESS_RELEASE"], "package": msgspec.__file__, "python": sys.base_prefix}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": msgspec.json.encode(said)})
"""
NODE = """
const isNumber = require("is-number");
const { execFile } = require("node:child_process");
const said = { release: process.env.GAPLESS_RELEASE, package: require.resolve("is-number"), right: isNumber("5") };
const server = require("node:http").createServer((_, response) => response.end(JSON.stringify(said)));
server.listen({ fd: 3 }, () => execFile("systemd-notify", ["--ready"]));
process.on("SIGTERM", () => server.close());
"""
PROJECT = """
[project]
name = "shop"
version = "1"
requires-python = ">=3.11"
dependencies = ["msgspec", "gapless[serve]"]
"""
UV = f"{PROJECT}\n[[tool.uv.index]]\nurl = '@REGISTRY@/simple'\ndefault = true\n"
POETRY = f"{PROJECT}\n[[tool.poetry.source]]\nname = 'registry'\nurl = '@REGISTRY@/simple'\n"
PACKAGE = '{"name": "shop", "version": "1.0.0", "dependencies": {"is-number": "^7.0.0"}}'


@dataclass(frozen=True)
class Tool:
    """How a project is built: `files` are written by hand, `lock` makes the one that is not."""

    run: str
    files: dict[str, str]
    lock: str = ""
    command: str = "gapless serve app:app"
    more: str = ""

    @property
    def config(self) -> str:
        """The project's gapless.toml."""
        return f"""
name = "shop"
command = "{self.command}"
listen = "127.0.0.1:8000"
check = {{ path = "/", timeout = "30s" }}
drain = {{ linger = "1s", requests = "5s", streams = "5s" }}
build = {{ run = "{self.run}" }}
{self.more}
"""


TOOLS = {
    "uv": Tool("uv sync --frozen --no-dev", {"app.py": ASGI, "pyproject.toml": UV}, "uv lock -q"),
    "pip": Tool(
        "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
        {"app.py": ASGI, "requirements.txt": "msgspec\ngapless[serve]\n"},
    ),
    "poetry": Tool(
        "poetry install --only main --no-root", {"app.py": ASGI, "pyproject.toml": POETRY}, "poetry lock -q"
    ),
    "npm": Tool(
        "npm ci",
        {"server.js": NODE, "package.json": PACKAGE, ".npmrc": "registry=@REGISTRY@/npm/\n"},
        "npm install --silent --package-lock-only",
        command="node server.js",
        more="sandbox = { jit = true }",
    ),
}
