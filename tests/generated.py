"""Projects as frameworks generate them, and their settings as `gapless init` says that they should be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LINE = re.compile(r": `([^`]+)`")  # of what is to do: the line to write
SETTINGS = "shop/settings.py"


def django(folder: Path) -> None:
    """A new project of Django's, `shop`, in an empty folder."""
    argv = (sys.executable, "-m", "django", "startproject", "shop", ".")
    subprocess.run(argv, cwd=folder, check=True, timeout=60)


def as_advised(settings: str, todo: list[str]) -> str:
    """The settings with each line that is to be written, in the place of that of the same name, or at the end."""
    lines = [found[1] for one in todo if SETTINGS in one and (found := LINE.search(one))]
    assert len(lines) == 5, todo
    for line in lines:
        name = re.match(r"\W*(\w+)", line)
        assert name, line
        old = re.search(rf"^( *)[\"']?{name[1]}[\"']?(?: =|:).*?(,?)$", settings, re.MULTILINE)
        new = f"{old[1]}{line}{old[2]}" if old else ""
        settings = settings.replace(old[0], new, 1) if old else f"{settings}\n{line}\n"
    return f"import os\n{settings}"
