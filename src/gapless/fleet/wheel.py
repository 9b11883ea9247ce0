"""The gapless that runs here as a wheel, for hosts: they then have the same one, wherever this one came from."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib import metadata
from importlib.resources import files
from pathlib import Path

from gapless.errors import GaplessError
from gapless.linux.disk import refusal

EPOCH = (1980, 1, 1, 0, 0, 0)  # of each file: the same files make the same wheel
ABOUT = ("METADATA", "WHEEL", "entry_points.txt")


def write(folder: Path) -> Path:
    """Write the wheel into `folder`, and return its path. Raises GaplessError."""
    name, version = "gapless", metadata.version("gapless")
    about = f"{name}-{version}.dist-info"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    try:
        contents = {f"{name}/{path}": text for path, text in _program().items()}
        contents |= {f"{about}/{one}": _about(one).encode() for one in ABOUT}
        record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in contents.items())
        contents[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, text in contents.items():
                info = zipfile.ZipInfo(path, EPOCH)
                info.external_attr = 0o644 << 16
                archive.writestr(info, text, zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise refusal("write", str(wheel), error) from error
    return wheel


def _program() -> dict[str, bytes]:
    root = Path(str(files("gapless")))
    found = sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def _about(name: str) -> str:
    if (text := metadata.distribution("gapless").read_text(name)) is None:
        cause = f"it was installed without its {name}"
        raise GaplessError("pack", "this gapless for hosts", cause, "install it with pip, in a virtual environment")
    return text


def _digest(text: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
