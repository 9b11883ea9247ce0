"""The layout tells the story listen → serve → switch → release → prove, and imports follow it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "gapless"
BASE = {"errors", "inert", "linux", "span", "timeouts", "visitor"}
APP = {*BASE, "address", "assignments", "config", "environment", "home", "listen", "shared", "variables", "version"}
# What each part may import beside itself; `switch` alone is its own files, without the two managers.
MAY_IMPORT = {
    "errors": set[str](),
    "span": set[str](),
    "timeouts": set[str](),
    "version": set[str](),
    "visitor": {"linux"},
    "inert": set[str](),
    "listen": {"errors", "variables"},
    "notify": set[str](),
    "linux": {"errors"},
    "address": {"errors", "listen"},
    "home": {"config", "errors"},
    "shared": {"errors", "home", "linux"},
    "config": {"address", "errors", "fleet.waves", "linux", "listen", "span", "timeouts", "visitor"},
    "variables": set[str](),
    "destination": {"config", "errors"},
    "assignments": {"config", "errors"},
    "environment": {"errors", "assignments", "config", "home", "linux", "variables"},
    "serve": {*BASE, "listen", "notify"},
    "switch": APP,
    "switch.embedded": {*APP, "switch"},
    "switch.systemd": {*APP, "switch"},
    "release": {
        *(*BASE, "config", "destination", "environment", "home", "shared", "variables"),
        *("switch.engine", "switch.job", "switch.manager", "switch.orders", "switch.pause", "switch.symptoms"),
    },
    "prove": {*BASE, "version"},
    "conform": {*BASE, "prove", "variables", "version"},
    "survey": set[str](),
    "provision": {*APP, "switch", "switch.systemd"},
    "fleet": {*APP, "destination", "release", "fleet.waves"},
    "fleet.waves": set[str](),
    "fleet.plugins": set[str](),
    "doctor": {*APP, "provision", "release", "switch", "switch.embedded", "switch.systemd"},
}


def part_of(name: str) -> str:
    """The part that a module belongs to: the longest that its name begins with, else its first word."""
    parts = [part for part in MAY_IMPORT if f"{name}.".startswith(f"{part}.")]
    return max(parts, key=len, default=name.partition(".")[0])


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """The gapless modules that a file imports, without the leading package name."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "gapless":
            module = (node.module or "").removeprefix("gapless").removeprefix(".")
            for alias in node.names:
                name = f"{module}.{alias.name}".removeprefix(".")
                place = SOURCE.joinpath(*name.split("."))
                found.add(name if place.is_dir() or place.with_suffix(".py").exists() else module)
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("gapless.") for alias in node.names if alias.name.startswith("gapless.")}
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    """The two managers do not know each other; switch, release and prove neither, but for release the engine."""
    part = part_of(name_of(path))
    if part in MAY_IMPORT:
        allowed = {part, *MAY_IMPORT[part]}
        assert {name for name in imported(path) if not {name, part_of(name)} & allowed} == set()


def test_no_two_modules_import_each_other() -> None:
    """Reading a file needs the files that it imports, and none of these needs it in turn."""
    needs = {name_of(path): imported(path) for path in SOURCE.rglob("*.py")}

    def reach(name: str) -> set[str]:
        seen, todo = set[str](), [name]
        while todo:
            for one in needs.get(todo.pop(), set()) - seen:
                seen.add(one)
                todo.append(one)
        return seen

    assert [name for name in needs if name in reach(name)] == []


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_the_command_line_prints(path: Path) -> None:
    """Invariant 8: the library raises and logs; `cli` alone writes to a terminal."""
    if name_of(path).partition(".")[0] not in ("cli", "__main__"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


def test_the_battery_for_servers_imports_nothing_of_ours() -> None:
    """Its tests drive any server's command over a socket: what they need of tests/support.py included."""
    tests = SOURCE.parents[1] / "tests"
    for path in [*(tests / "server").rglob("*.py"), tests / "support.py", tests / "conftest.py"]:
        assert imported(path) == set(), path


def test_importing_gapless_loads_the_standard_library_alone() -> None:
    """An app that only wants listen() and notify pays for neither uvicorn nor the deploy tool."""
    code = "import sys, gapless; print([m for m in ('uvicorn', 'click', 'msgspec', 'asyncio') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code]) == b"[]\n"
