"""A project for each tool that users build with, as they would write it; @REGISTRY@ stands for a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

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
const found = require("node:fs").readFileSync("dist/package.txt", "utf8");
const said = { release: process.env.GAPLESS_RELEASE, package: found, right: isNumber("5") };
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
WORKSPACE = (
    UV.replace('"msgspec", ', '"msgspec", "shop-lib", ')
    + """
[tool.uv.workspace]
members = ["libs/*"]

[tool.uv.sources]
shop-lib = { workspace = true }
"""
)
MEMBER = """
[project]
name = "shop-lib"
version = "1"
requires-python = ">=3.11"

[build-system]
requires = ["uv_build"]
build-backend = "uv_build"
"""
PACKAGE = """
{
  "name": "shop", "version": "1.0.0",
  "scripts": { "build": "node build.js" }, "dependencies": { "is-number": "^7.0.0" }
}
"""
BUILD = """
const fs = require("node:fs");
fs.mkdirSync("dist");
fs.writeFileSync("dist/package.txt", require.resolve("is-number"));
"""


DOCUMENT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text().partition("# Builds that last")[2]
FILE = re.compile(r"^## (.+?)$.*?<!-- file: gapless.toml -->\n```toml\n(.*?)```", re.MULTILINE | re.DOTALL)
RECIPES = dict(FILE.findall(DOCUMENT))


@dataclass(frozen=True)
class Tool:
    """How a project is built, as gapless.toml says: `files` are written by hand, `lock` makes the one that is not."""

    settings: str
    files: dict[str, str]
    lock: str = ""

    @property
    def config(self) -> str:
        """The project's gapless.toml."""
        return f"""
listen = "127.0.0.1:8000"
check = {{ path = "/", timeout = "30s" }}
drain = {{ linger = "1s", requests = "5s", streams = "5s" }}
{self.settings}
"""


TOOLS = {
    "uv": Tool(RECIPES["uv"], {"app.py": ASGI, "pyproject.toml": UV}, "uv lock -q"),
    "A workspace of uv": Tool(
        RECIPES["A workspace of uv"],
        {
            "app.py": ASGI.replace("import msgspec", "import msgspec, shop_lib").replace(
                "msgspec.__file__", "shop_lib.PATH"
            ),
            "pyproject.toml": WORKSPACE,
            "libs/lib/pyproject.toml": MEMBER,
            "libs/lib/src/shop_lib/__init__.py": "PATH = __file__\n",
        },
        "uv lock -q",
    ),
    "pip": Tool(
        RECIPES["pip"],
        {"app.py": ASGI, "requirements.in": "msgspec\ngapless[serve]\n"},
        "uv pip compile -q --generate-hashes --default-index @REGISTRY@/simple requirements.in -o requirements.txt",
    ),
    "poetry": Tool(RECIPES["poetry"], {"app.py": ASGI, "pyproject.toml": POETRY}, "poetry lock -q"),
    "npm": Tool(
        RECIPES["npm"],
        {"server.js": NODE, "build.js": BUILD, "package.json": PACKAGE, ".npmrc": "registry=@REGISTRY@/npm/\n"},
        "npm install --silent --package-lock-only",
    ),
}
