"""The Python files of a project, as trees."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

SKIP = {
    "tests",
    "test",
    "docs",
    "examples",
    "node_modules",
    "build",
    "dist",
    "site-packages",
    "migrations",
    "venv",
    "env",
}
ENTRIES = ("asgi", "main", "app", "wsgi", "__init__")  # files where an app is looked for first
IMPORTED = re.compile(r"^(?:from|import)[ \t]+([A-Za-z_]\w*)", re.MULTILINE)  # absolutely, the first part
DEPTH, MOST, LARGEST = 4, 400, 256 << 10  # directories in one another, files, bytes


@dataclass(frozen=True)
class Source:
    """A Python file: where it is below the project, the directory to import it from, its module's name."""

    path: Path
    root: str
    module: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its statements; none where it is no Python that we know."""
        try:
            return ast.parse(self.text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ast.Module([], [])

    @cached_property
    def imports(self) -> dict[str, str]:
        """The names that the module imports, each with the first part of where from; "" for its own package."""
        found: dict[str, str] = {}
        for one in self.tree.body:
            if isinstance(one, ast.Import):
                found |= {each.asname or each.name.partition(".")[0]: each.name.partition(".")[0] for each in one.names}
            elif isinstance(one, ast.ImportFrom):
                of = "" if one.level else (one.module or "").partition(".")[0]
                found |= {each.asname or each.name: of for each in one.names}
        return found

    def package(self, node: ast.expr | None) -> str:
        """The package that what is called or read comes from: `typer` of typer.Typer(…); "" where it is none."""
        while isinstance(node, ast.Call | ast.Attribute):
            node = node.func if isinstance(node, ast.Call) else node.value
        return self.imports.get(node.id, "") if isinstance(node, ast.Name) else ""


def sources(directory: Path) -> list[Source]:
    """The project's own modules, the likeliest to have the app first."""
    found = []
    for path in _files(directory):
        inside = path.relative_to(directory)
        if path.stat().st_size > LARGEST:
            continue
        text = path.read_text("utf-8", "replace")
        root = _root(directory, inside, text)
        module = ".".join(inside.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        if module and module != "__init__":
            found.append(Source(inside, root, module, text))
    return sorted(found, key=_likelihood)


def _root(directory: Path, inside: Path, text: str) -> str:
    """The directory that a module is imported from: where what it imports itself is; "" is the project's own."""
    usual = "src" if inside.parts[0] == "src" and not (directory / "src/__init__.py").exists() else ""
    wanted = set(IMPORTED.findall(text))
    for folder in inside.parents:
        near = {one for one in wanted if _is_module(directory / folder / one)}
        if near and not any(_is_module(directory / usual / one) for one in near):
            return "" if folder == Path() else str(folder)
    return usual


def _is_module(path: Path) -> bool:
    return path.with_name(f"{path.name}.py").is_file() or (path.is_dir() and any(path.glob("*.py")))


def _likelihood(one: Source) -> tuple[int, int, str]:
    stem = one.path.stem
    depth = len(one.path.parts) - bool(one.root) - (stem == "__init__")
    return depth, ENTRIES.index(stem) if stem in ENTRIES else len(ENTRIES), str(one.path)


def _files(directory: Path) -> Iterator[Path]:
    count = 0
    for folder, below, files in os.walk(directory):
        depth = len(Path(folder).relative_to(directory).parts)
        below[:] = sorted(one for one in below if depth < DEPTH and _ours(Path(folder, one)))
        for name in sorted(files):
            path = Path(folder, name)
            if name.endswith(".py") and path.is_file():
                yield path
                if (count := count + 1) >= MOST:
                    return


def _ours(folder: Path) -> bool:
    return not folder.name.startswith(".") and folder.name not in SKIP and not (folder / "pyvenv.cfg").exists()


def name_of(node: ast.AST | None) -> str:
    """The last name of what is called or read: `FastAPI` of fastapi.FastAPI(…)."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def text_of(node: ast.AST | None) -> str:
    """The text that a constant is; "" where it is none."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """The names that statements give values, with these, in order."""
    for one in body:
        if isinstance(one, ast.Assign):
            yield from ((target.id, one.value) for target in one.targets if isinstance(target, ast.Name))
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and one.value:
            yield one.target.id, one.value
        elif isinstance(one, ast.If | ast.Try | ast.With) and not _is_main(one):
            yield from assigned(one.body)


def _is_main(one: ast.stmt) -> bool:
    """Whether it is what a module does only where it is the program: a server that imports it has none of that."""
    return isinstance(one, ast.If) and "__name__" in ast.unparse(one.test)
