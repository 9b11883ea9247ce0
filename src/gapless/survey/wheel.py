"""This very gapless as a build installs it: from an index, from git, or from a wheel in the project."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from importlib import metadata
from pathlib import Path

import gapless

FOLDER = "vendor"  # of a project


def requirement(extra: str = "serve") -> tuple[str, str]:
    """What pip is asked for, from where this one was installed (PEP 610), and the wheel that has to be there for it.

    "" is no wheel. What was installed from a directory or a file has one, because nobody else may read these: a build
    is another user, often on another host.
    """
    installed = metadata.distribution("gapless")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if not origin:
        return f"gapless[{extra}]=={installed.version}", ""
    if str(origin["url"]).startswith("file:"):
        wheel = f"{FOLDER}/gapless-{installed.version}-py3-none-any.whl"
        return f"./{wheel}[{extra}]", wheel
    if vcs := origin.get("vcs_info"):
        return f"gapless[{extra}] @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}", ""
    return f"gapless[{extra}] @ {origin['url']}", ""


def write(path: Path) -> None:
    """Pack what is installed into a wheel at `path`; the same files make the same bytes. Raises OSError."""
    installed = metadata.distribution("gapless")
    info = f"gapless-{installed.version}.dist-info"
    package = Path(gapless.__file__).parent
    content = {
        f"gapless/{one.relative_to(package)}": one.read_bytes()
        for one in sorted(package.rglob("*"))
        if one.is_file() and "__pycache__" not in one.parts
    }
    for name in ("METADATA", "entry_points.txt"):
        content[f"{info}/{name}"] = (installed.read_text(name) or "").encode()
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: gapless\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content[f"{info}/RECORD"] = "".join([*map(_recorded, content.items()), f"{info}/RECORD,,\n"]).encode()
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a link
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in content.items():
            wheel.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def _recorded(file: tuple[str, bytes]) -> str:
    name, data = file
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"
