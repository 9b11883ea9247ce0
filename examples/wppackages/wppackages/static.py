"""Style sheet and icon, each under a name that changes with its contents: a client keeps it for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).with_name("static")


def hashed(path: Path) -> str:
    """The name that `path` is published by: "style.css" is "style.0123456789.css"."""
    return f"{path.stem}.{hashlib.sha256(path.read_bytes()).hexdigest()[:10]}{path.suffix}"


NAMES = {path.name: hashed(path) for path in FOLDER.iterdir()}
FILES = {hashed(path): path.read_bytes() for path in FOLDER.iterdir()}
TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


def url(name: str) -> str:
    """Where a page finds the file `name`."""
    return f"/static/{NAMES[name]}"


def write(folder: Path) -> list[str]:
    """Write the files under their published names into `folder`, for a server in front."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return sorted(FILES)
