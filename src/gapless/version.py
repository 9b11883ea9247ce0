"""Which gapless this is: what it makes says so, and what runs."""

from __future__ import annotations

import sys

VERSION = "0.1.0"


def maker() -> str:
    """This gapless and the interpreter that runs it, in words."""
    return f"gapless {VERSION} ({sys.executable})"
