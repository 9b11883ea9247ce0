"""The version of gapless that an upgrade comes from, made from git's history."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

COMMIT = "c743413a3df1962d45ab0790cd16904c4562919c"  # of November 2026: before files said who had made them
FOLDER = ROOT / ".packages" / "older"


def wheel() -> Path:
    """Build its wheel, once; skips the test where this copy of the project lacks its history."""
    if not (found := list(FOLDER.glob("*.whl"))):
        tree = FOLDER / "tree"
        tree.mkdir(parents=True, exist_ok=True)
        git = ["git", "archive", COMMIT, "src", "pyproject.toml", "README.md", "LICENSE"]
        archive = subprocess.run(git, cwd=ROOT, capture_output=True, check=False)
        if archive.returncode:
            pytest.skip(f"this copy of the project lacks its history: {archive.stderr.decode()}")
        subprocess.run(["tar", "-x"], cwd=tree, input=archive.stdout, check=True)
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(FOLDER)]
        subprocess.run(build, cwd=tree, check=True, capture_output=True, timeout=120)
        found = list(FOLDER.glob("*.whl"))
    return found[0]
