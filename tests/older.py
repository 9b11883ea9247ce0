"""The version of gapless that an upgrade comes from, made from git's history."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

VERSION = "0.0.9"  # what its wheel says, so that pip can tell it from this one
COMMIT = "c743413a3df1962d45ab0790cd16904c4562919c"  # of November 2026: before files said who had made them
NEEDS = ("a2wsgi>=1.10",)  # beside what this one does
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
        about = tree / "pyproject.toml"
        about.write_text(re.sub(r"^version = .*", f'version = "{VERSION}"', about.read_text(), flags=re.MULTILINE))
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(FOLDER)]
        subprocess.run(build, cwd=tree, check=True, capture_output=True, timeout=120)
        found = list(FOLDER.glob("*.whl"))
    return found[0]
