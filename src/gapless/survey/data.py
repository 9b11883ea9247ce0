"""Where a project keeps its data, which is to outlive a release, and how its database is migrated."""

from __future__ import annotations

import re
from pathlib import Path

from gapless.survey.findings import FACTORY, Findings
from gapless.survey.sources import Source, assigned, text_of

# A URL of a file; in a line that lets the environment say another, the variable's name.
SQLITE = re.compile(r"""f?["'](?P<driver>sqlite(?:\+\w+)?):///(?!:memory:|/[^/{]|\?)""")
FILE = re.compile(r"""([\w.-]+\.(?:db3?|sqlite3?|sq3))["'}?]""")
NAMED = re.compile(r"""^f["']\w[\w+]*:///\{(\w+)\}["']""")
VARIABLE = re.compile(r"""(?:environ\.get|getenv|environ)[(\[]\s*["'](\w+)["']""")
FIELD = re.compile(r"^\s+(\w+)\s*:\s*\w+\s*=\s*")  # of pydantic's settings: the variable has its name
CONNECT = re.compile(r"""sqlite3\.connect\(\s*["']([^:"'/][^"']*)["']""")
INSTANCE = re.compile(r"instance_path\b|instance_relative_config")
PLACEHOLDER = "driver://user:pass@localhost/dbname"  # as `alembic init` writes it


def find(found: Findings, directory: Path, modules: list[Source]) -> None:
    """Add the files that the code writes beside itself, and the migrations."""
    for source in modules:
        for line in source.text.splitlines():
            _of_line(found, source, line)
        if INSTANCE.search(source.text) and "Flask(" in source.text and "GAPLESS_SHARED" not in source.text:
            found.todo.append(
                f"{source.path}: the instance directory is in the release, which nobody can write: give Flask(…)"
                ' `instance_path=os.environ.get("GAPLESS_SHARED")`'
            )
    if (directory / "alembic.ini").is_file():
        found.migrate = found.migrate or "alembic upgrade head"
        _of_alembic(found, directory)
    elif (directory / "migrations/alembic.ini").is_file() and found.app:  # Flask-Migrate's
        of = found.app.partition(":")[0] if FACTORY in found.options else found.app
        found.migrate = f"flask --app {of} db upgrade"


def _of_line(found: Findings, source: Source, line: str) -> None:
    if line.lstrip().startswith("#") or "GAPLESS_" in line:
        return
    if url := SQLITE.search(line):
        whole = _expression(line[url.start() :])
        if not (file := _file(source, whole)):
            return
        said, field = VARIABLE.search(line), FIELD.match(line)
        name = said[1] if said else field[1].upper() if field else "DATABASE_URL"
        found.env.setdefault(name, f"{url['driver']}:///$GAPLESS_SHARED/{file}")
        if not said and not field:
            wanted = f'os.environ.get("{name}", {whole})'
            found.todo.append(f"{source.path}: {whole} is in the release, which nobody can write: `{wanted}`")
    elif (called := CONNECT.search(line)) and not VARIABLE.search(line):
        found.env.setdefault("DATABASE", f"$GAPLESS_SHARED/{Path(called[1]).name}")
        wanted = f'os.environ.get("DATABASE", "{called[1]}")'
        found.todo.append(f'{source.path}: "{called[1]}" is in the release, which nobody can write: `{wanted}`')


def _expression(line: str) -> str:
    """The expression that `line` begins with: up to a comma, a bracket that it did not open, or a comment."""
    depth, quote = 0, ""
    for at, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}" or (char in ",#" and not depth):
            depth -= 1
            if depth < 0:
                return line[:at].rstrip()
    return line.rstrip()


def _file(source: Source, url: str) -> str:
    """The name of the file that an expression makes a URL of; "" where the code does not say it."""
    if named := NAMED.search(url):
        return Path(text_of(dict(assigned(source.tree.body)).get(named[1]))).name
    if files := FILE.findall(url):
        return str(files[-1])
    return (
        Path(url.rpartition("/")[2].partition("?")[0].strip("\"'")).name if url[0] in "\"'" and "+" not in url else ""
    )


def _of_alembic(found: Findings, directory: Path) -> None:
    """Say where alembic has no database to migrate, or another one than the app."""
    ini = (directory / "alembic.ini").read_text("utf-8", "replace")
    folder = re.search(r"^script_location\s*=\s*(?:%\(here\)s/)?(\S+)", ini, re.MULTILINE)
    env = directory / (folder[1] if folder else "alembic") / "env.py"
    text = env.read_text("utf-8", "replace") if env.is_file() else ""
    usual = re.search(r"^sqlalchemy\.url\s*=\s*(\S+)", ini, re.MULTILINE)
    if "environ" in text or "set_main_option" in text or "get_url" in text:
        return
    if usual and (usual[1] == PLACEHOLDER or usual[1].startswith("sqlite")):
        found.env.setdefault("DATABASE_URL", "sqlite:///$GAPLESS_SHARED/app.db")
        wanted = 'config.set_main_option("sqlalchemy.url", os.environ["DATABASE_URL"])'
        inside = env.relative_to(directory) if env.is_relative_to(directory) else env
        found.todo.append(f"{inside}: alembic is to migrate the app's own database: after `config = …`, `{wanted}`")
