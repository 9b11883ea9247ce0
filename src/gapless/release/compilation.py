"""What compiles the Python of a release, so that a start of the sealed one has nothing to compile."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# compileall alone fails for one file that no Python can read, and packages ship such on purpose.
SCRIPT = """
import compileall, os, pathlib
said = os.environ.get("PYTHONOPTIMIZE", "")
level = min(int(said), 2) if said.isdecimal() else bool(said)
many = sum(1 for _ in pathlib.Path(".").rglob("*.py")) > 500
compileall.compile_dir(".", quiet=2, workers=0 if many else 1, optimize=int(level))
"""


def compilation(tree: Path) -> list[str]:
    """The command line that compiles all in `tree`, with the interpreter of the release; empty without any Python."""
    if not any(name.endswith(".py") for _folder, _folders, files in os.walk(tree) for name in files):
        return []
    venvs = sorted(one.parent for one in tree.glob("*/pyvenv.cfg"))
    own = (one / "bin/python" for one in (tree / ".venv", *venvs))
    python = next((str(one) for one in own if one.exists()), sys.executable)
    # -I: the release has no say in what is imported; the script itself looks at the variable that decides what a start
    # will look for. -W: the log is no place for what its packages' authors wrote.
    return [python, "-I", "-W", "ignore", "-c", SCRIPT]


def compile_here(tree: Path) -> None:
    """Compile all in `tree` with our own interpreter, in this process: it saves the start of another."""
    import compileall  # only a deploy pays for it
    import warnings

    with warnings.catch_warnings(action="ignore"):  # about the app's code, and the app's start says so, too
        compileall.compile_dir(tree, quiet=2)
