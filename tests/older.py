"""The version of gapless that an upgrade comes from."""

from __future__ import annotations

from pathlib import Path

VERSION = "0.0.9"
# Kept as a file, because no index has it: the sources of commit c743413, before files said who had made them.
WHEEL = Path(__file__).parent / "versions" / f"gapless-{VERSION}-py3-none-any.whl"
NEEDS = ("a2wsgi>=1.10",)  # beside what this one does
