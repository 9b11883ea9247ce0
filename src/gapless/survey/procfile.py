"""What a Procfile says: which app is served, what runs beside it, what runs before a release."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from gapless.survey.findings import FACTORY, Findings
from gapless.survey.sources import Source

LINE = re.compile(r"^([\w-]+):\s*(\S.*)$", re.MULTILINE)
APP = re.compile(r"([A-Za-z_][\w.]*)(?::([A-Za-z_][\w.]*)(\(\))?)?")
SERVERS = {"gunicorn", "uvicorn", "hypercorn", "daphne", "granian", "waitress-serve"}
SHELL = set("$&|;<>`")  # in a line that only a shell could run
NAME = re.compile(r"[a-z][a-z0-9-]*")


def lines(directory: Path) -> dict[str, str]:
    """The commands, by the names of their processes."""
    path = directory / "Procfile"
    return dict(LINE.findall(path.read_text("utf-8", "replace"))) if path.is_file() else {}


def served(directory: Path, modules: list[Source]) -> tuple[Source, str, bool] | None:
    """The module, the object, and whether it is a factory, that `web` names for a server of Python's."""
    words = _words(lines(directory).get("web", ""))
    if not SERVERS & {Path(word).name for word in words}:
        return None
    known = {one.module: one for one in modules}
    for word in words:
        if (said := APP.fullmatch(word)) and said[1] in known and (said[2] or word not in SERVERS):
            return known[said[1]], said[2] or "application", bool(said[3]) or FACTORY in words
    return None


def find(found: Findings, directory: Path) -> None:
    """Add the other processes and, where nothing else is known to migrate, what `release` runs."""
    for name, command in lines(directory).items():
        if name == "web":
            continue
        if SHELL & set(command) or not _words(command):
            found.todo.append(
                f"Procfile: `{name}` wants a shell: put what it does into a script, and that into [processes]"
            )
        elif name == "release":
            found.migrate = found.migrate or command
        elif NAME.fullmatch(name):
            found.processes[name] = command


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []
