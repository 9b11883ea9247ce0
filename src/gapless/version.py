"""Which gapless this is: what it makes says so, and what runs."""

from __future__ import annotations

import functools
import sys


@functools.cache
def version() -> str:
    """The version of this gapless, as pip knows it; "unknown" of sources that nobody installed."""
    import importlib.metadata  # 30 ms, which only who asks pays for

    try:
        return importlib.metadata.version("gapless")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def maker() -> str:
    """This gapless and the interpreter that runs it, in words."""
    return f"gapless {version()} ({sys.executable})"
