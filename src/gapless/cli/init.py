"""gapless init"""

from __future__ import annotations

import json
import re
import secrets
from importlib import metadata
from pathlib import Path

import click

from gapless.cli.options import Project, anywhere, dry_run
from gapless.cli.output import Output
from gapless.config import FILE, parse

TEXT = """\
name = "{name}"
id = "{id}"            # tells this project from another one of its name; keep it
command = "gapless serve {app}"
listen = "127.0.0.1:8000"
{build}
[check]
path = "/"          # must answer 2xx before this release gets its first visitor

# `gapless config --example` shows every setting.
"""
# Its own virtual environment goes before the PATH, so `gapless serve` is the one in there. gapless comes in a step of
# its own: pip refuses it beside requirements with hashes, and no lock knows it.
BUILD = """
[build]              # each release has its own virtual environment
# On a server it runs as the user NAME-build, who sees nothing in /root or /home and may write the release, which nobody
# can afterwards, and its own home, /srv/NAME/cache, where caches stay. What the app keeps goes to $GAPLESS_SHARED.
run = '''
{install}
{add} "{ours}"
'''
"""
WITH_PIP = ".venv/bin/pip install --quiet"
# By the file that says what the project needs, a lock before what was locked: what installs that, and what adds to it.
INSTALLS = {
    "uv.lock": ("uv sync --frozen --no-dev", "uv pip install --quiet"),
    "poetry.lock": ("poetry install --only main --no-root", WITH_PIP),
    "requirements.txt": (f"python3 -m venv .venv\n{WITH_PIP} -r requirements.txt", WITH_PIP),
    "pyproject.toml": (f"python3 -m venv .venv\n{WITH_PIP} .", WITH_PIP),
}
# An app object in a module of its own: `app = FastAPI()`, `application = get_wsgi_application()` …
APP = re.compile(r"^(app|application|api)\s*(?::[^=]+)?=(?!=)|^(?:async\s+)?def\s+(app|application)\(", re.MULTILINE)
SKIP = {"tests", "test", "docs", "node_modules", "build", "dist"}


@click.command()
@dry_run
@anywhere
@click.pass_obj
def command(output: Output, /, project: Project, dry_run: bool) -> None:
    """Guesses the app; what is there already is left alone."""
    path = Path(project.directory, FILE)
    if path.exists():
        output.result({"path": str(path), "changed": False}, f"Already there: {path}")
        return
    name = re.sub(r"[^a-z0-9-]+", "-", project.directory.name.lower()).strip("-0123456789")[:32].rstrip("-") or "app"
    found = find_app(project.directory)
    text = TEXT.format(name=name, id=secrets.token_hex(4), app=found or "MODULE:APP", build=_build(project.directory))
    parse(text, path)
    if not dry_run:
        path.write_text(text)
    guess = f"the app is {found}" if found else "put your app in place of MODULE:APP"
    done = "Would write" if dry_run else "Wrote"
    document = {"path": str(path), "changed": not dry_run, "app": found, "text": text}
    output.result(
        document,
        f"{done} {path}: {guess}.",
        *([text] if dry_run else ["Next: gapless run here, or gapless up on a server."] if found else []),
    )


def _build(directory: Path) -> str:
    """How a release gets what the project says that it needs; nothing where it says nothing."""
    found = next((how for name, how in INSTALLS.items() if (directory / name).exists()), None)
    return BUILD.format(install=found[0], add=found[1], ours=_ours()) if found else ""


def _ours() -> str:
    """This very gapless as pip is asked for it: from where it was installed (PEP 610), else by its version."""
    installed = metadata.distribution("gapless")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if not origin:
        return f"gapless[serve]=={installed.version}"
    if vcs := origin.get("vcs_info"):
        return f"gapless[serve] @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    return f"gapless[serve] @ {origin['url']}"


def find_app(directory: Path) -> str | None:
    """MODULE:APP of the first module, top level before packages, that defines an app; None if none does."""
    candidates = [*sorted(directory.glob("*.py")), *sorted(directory.glob("*/*.py"))]
    for path in sorted(candidates, key=lambda one: (len(one.parts), one.stem not in ("asgi", "main", "app"))):
        inside = path.relative_to(directory)
        if SKIP & set(inside.parts) or inside.parts[0].startswith("."):
            continue
        match = APP.search(path.read_text("utf-8", "replace"))
        if match:
            module = ".".join(inside.with_suffix("").parts).removesuffix(".__init__")
            return f"{module}:{match[1] or match[2]}"
    return None
