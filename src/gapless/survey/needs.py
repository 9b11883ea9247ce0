"""What a project says that it needs, and what installs that into a release's own virtual environment."""

from __future__ import annotations

import tomllib
from pathlib import Path

from gapless.survey.findings import AGAIN, APP_DIR, Findings, Installs

VENV = "python3 -m venv .venv"
WITH_PIP = ".venv/bin/pip install --quiet"
REQUIREMENTS = ("requirements.txt", *(f"requirements/{name}.txt" for name in ("production", "prod", "base")))
NAMES = ("uv.lock", "poetry.lock", *REQUIREMENTS, "pyproject.toml", "setup.py")
# Of a project that is no package: what it depends on, and not itself.
DEPENDENCIES = (
    "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project'].get('dependencies', []), sep='\\\\n')"
)
NOT_KNOWN = {
    "Pipfile": "`pipenv lock`, `pipenv requirements > requirements.txt`",
    "Pipfile.lock": "`pipenv requirements > requirements.txt`",
    "environment.yml": "a requirements.txt with what `[build] run` is to install by pip",
    "setup.cfg": "a pyproject.toml, or a requirements.txt",
}


def find(found: Findings, directory: Path) -> Installs | None:
    """How the project's needs are installed, a lock before what was locked; None where it names none."""
    if (directory / "uv.lock").exists():
        return Installs(("uv sync --frozen --no-dev",), "uv pip install --quiet")
    if (directory / "poetry.lock").exists():
        return Installs(("poetry install --only main --no-root",), WITH_PIP)
    for name in REQUIREMENTS:
        if (directory / name).exists():
            return Installs((VENV, f"{WITH_PIP} -r {name}"), WITH_PIP)
    if (directory / "pyproject.toml").exists():
        return _of_pyproject(found, directory / "pyproject.toml")
    if (directory / "setup.py").exists():
        return Installs((VENV, f"{WITH_PIP} ."), WITH_PIP)
    if own := _below(found, directory):
        found.todo.append(
            f"{own}: the app is a project of its own there: `rm gapless.toml`, and `gapless init` in {own.parent},"
            " which knows what it needs"
        )
        return None
    other = next((name for name in NOT_KNOWN if (directory / name).exists()), "")
    if found.app:
        way = NOT_KNOWN[other] if other else "`pip freeze > requirements.txt`"
        says = f"{other} is not known here" if other else "nothing says what the project needs"
        found.todo.append(f"{says}, so that there is no [build] and a server would lack it: {way}, {AGAIN}")
    return None


def _below(found: Findings, directory: Path) -> Path | None:
    """What says the app's needs beside its code, in a directory below the project's."""
    options = dict(zip(found.options, found.options[1:], strict=False))
    folder = Path(options.get(APP_DIR, ""), *found.app.partition(":")[0].split("."))
    names = (*NAMES, *NOT_KNOWN)
    there = (one / name for one in (folder, *folder.parents) if one != Path() for name in names)
    return next((one for one in there if (directory / one).is_file()), None) if found.app else None


def _of_pyproject(found: Findings, path: Path) -> Installs | None:
    try:
        tables = tomllib.loads(path.read_text("utf-8", "replace"))
    except (ValueError, RecursionError):
        tables = {"build-system": {}}  # whoever builds it says what is wrong
    poetry = "poetry" in tables.get("tool", {})
    if "build-system" in tables or poetry or "project" not in tables:
        if tables and "project" not in tables and not poetry and "build-system" not in tables:
            return None  # settings of linters
        return Installs((VENV, f"{WITH_PIP} ."), WITH_PIP)
    found.todo.append(f"pyproject.toml: nothing is locked, so that a build may get others: `uv lock`, {AGAIN}")
    needs = f'python3 -c "{DEPENDENCIES}" > .venv/needs.txt'
    return Installs((VENV, needs, f"{WITH_PIP} -r .venv/needs.txt"), WITH_PIP)
