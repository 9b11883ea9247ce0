"""A project whose server is a program of its own: Node's, by package.json, or Go's, by go.mod."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gapless.survey.findings import Findings
from gapless.survey.pages import PAGES

NODE_ENTRIES = ("server.js", "index.js", "app.js", "src/server.js", "src/index.js", "dist/index.js")
NODE_START = re.compile(r"^node\s+(?:--\S+\s+)*([\w./-]+)")
NODE_LOCKS = {  # what was locked with it is installed so; the second is without what only a build needs
    "package-lock.json": ("npm ci", "npm ci --omit=dev"),
    "yarn.lock": ("yarn install --frozen-lockfile", "yarn install --frozen-lockfile --production"),
    "pnpm-lock.yaml": ("pnpm install --frozen-lockfile", "pnpm install --frozen-lockfile --prod"),
}
UNLOCKED = ("npm install", "npm install --omit=dev")
TAKES_SOCKET = re.compile(r"LISTEN_FDS|\bfd:\s*3\b|FileListener|activation\.Listeners")
QUOTED = re.compile(r"""["'`](?:GET )?(/[\w/]*)["'`]""")
LARGEST = 256 << 10  # bytes of a file that is read


def find(found: Findings, directory: Path) -> bool:
    """Add the command and the build; False where `directory` has neither of the two."""
    if (directory / "package.json").is_file():
        return _node(found, directory)
    return (directory / "go.mod").is_file() and _go(found, directory)


def _node(found: Findings, directory: Path) -> bool:
    try:
        package = json.loads(_text(directory / "package.json"))
        scripts = dict(package.get("scripts") or {})
        main = str(package.get("main") or "")
    except (ValueError, TypeError, AttributeError, RecursionError):
        package, scripts, main = {}, {}, ""  # npm says what is wrong with it
    start = str(scripts.get("start", ""))
    said = NODE_START.match(start)
    entry = said[1] if said else "" if start else main or _first(directory, NODE_ENTRIES)
    if not start and not (directory / entry).is_file():
        return False  # what builds style sheets, perhaps
    found.kind, found.jit = "Node", True
    lock = next((one for one in NODE_LOCKS if (directory / one).exists()), "")
    whole, lean = NODE_LOCKS.get(lock, UNLOCKED)
    build = bool(scripts.get("build"))
    found.build = [whole, "npm run build"] if build else [lean] if lock or package.get("dependencies") else []
    if not lock and found.build:
        found.todo.append("package.json: nothing is locked, so that a build may get others: `npm install`, then commit")
    if not entry:
        found.todo.append(
            f"package.json starts `{start}`: the server has to be the program that is started, by `node FILE`: put that"
            " in `command`"
        )
    found.command = f"node {entry or 'FILE'}"
    text = _text(directory / entry) if entry else ""
    if not TAKES_SOCKET.search(text):
        way = "listen(process.env.LISTEN_FDS ? { fd: 3 } : port, ready)"
        if "fastify" in (package.get("dependencies") or {}):  # its own listen() drops what it does not know
            way = "fastify.ready().then(() => fastify.server.listen({ fd: 3 }, ready))"
        found.todo.append(
            f"{entry or 'FILE'}: the socket is handed in as descriptor 3: `{way}`, where `ready` runs `systemd-notify"
            " --ready`; docs/servers.md#node has the lines"
        )
    found.page = _page(text)
    return True


def _go(found: Findings, directory: Path) -> bool:
    mains = [one for one in sorted(directory.glob("*.go")) if not one.name.endswith("_test.go")]
    mains += sorted(directory.glob("cmd/*/*.go"))
    main = next((one for one in mains if re.search(r"^package main\b", _text(one), re.MULTILINE)), None)
    if main is None:
        return False
    folder = main.parent.relative_to(directory)
    found.kind, found.command = "Go", "./server"
    found.build = [f"go build -o server {'.' if folder == Path() else f'./{folder}'}"]
    texts = [_text(one) for one in sorted(directory.rglob("*.go"))[:400]]
    if not any(map(TAKES_SOCKET.search, texts)):
        found.todo.append(
            f"{main.relative_to(directory)}: the socket is handed in as descriptor 3:"
            ' `net.FileListener(os.NewFile(3, "held"))`, then READY=1; docs/servers.md#go has the lines'
        )
    found.page = _page("\n".join(texts))
    return True


def _page(text: str) -> str:
    quoted = set(QUOTED.findall(text))
    return next((page for page in PAGES if page in quoted), "")


def _first(directory: Path, names: tuple[str, ...]) -> str:
    return next((one for one in names if (directory / one).is_file()), "")


def _text(path: Path) -> str:
    """The text of a file, its beginning where it is large; "" where there is none, or a pipe."""
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""
