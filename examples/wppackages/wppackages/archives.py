"""Keep archives here, so that Composer can verify them: wordpress.org has no SHA-1 of its own."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

from wppackages.catalogue import Package
from wppackages.settings import Settings
from wppackages.upstream import Unavailable, fetch
from wppackages.versions import kept

LARGEST = 256 << 20  # bytes


def mirror(settings: Settings, database: sqlite3.Connection, package: Package) -> tuple[str, str] | None:
    """Fetch the archive of what `package` has released, if it is to be kept here and is not; its version and SHA-1.

    Raises Unavailable.
    """
    if package.state != "open" or not any(fnmatchcase(package.name, pattern) for pattern in settings.mirror):
        return None
    versions = kept(package.info["versions"], package.info["version"])
    released = next((one for one in versions if one.tag == package.info["version"]), None)
    if released is None:
        return None
    asked = (package.id, released.normalized)
    row = database.execute("SELECT shasum FROM archive WHERE package = ? AND version = ?", asked).fetchone()
    if row and (settings.archives / f"{row[0]}.zip").exists():
        return None
    return released.normalized, download(released.archive, settings.archives)


def store(database: sqlite3.Connection, package: Package, version: str, shasum: str) -> None:
    """Take down that the archive of a version is here; the next build says so. Within `catalogue.changing`."""
    database.execute("INSERT OR REPLACE INTO archive VALUES (?, ?, ?)", (package.id, version, shasum))
    database.execute(
        "UPDATE package SET revision = (SELECT max(revision) + 1 FROM package) WHERE id = ?", (package.id,)
    )


def download(url: str, folder: Path) -> str:
    """Bring the archive at `url` into `folder`, whole or not at all; its SHA-1. Raises Unavailable."""
    folder.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha1(usedforsecurity=False), 0  # Composer's `shasum` is a SHA-1
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".") as file:
        try:
            with fetch(url) as response:
                if response.status != 200:  # type: ignore[attr-defined]  # urllib's responses have it
                    raise Unavailable(f"{url} answered {response.status}")  # type: ignore[attr-defined]
                while chunk := response.read(1 << 20):
                    size += len(chunk)
                    if size > LARGEST:
                        raise Unavailable(f"{url} is larger than {LARGEST >> 20} MiB")
                    digest.update(chunk)
                    file.write(chunk)
        except OSError as error:
            raise Unavailable(f"{url} broke off: {error}") from error
        file.flush()
        os.fsync(file.fileno())
        path = folder / f"{digest.hexdigest()}.zip"
        if not path.exists():
            os.chmod(file.name, 0o644)  # noqa: PTH101 -- everybody may have it
            os.link(file.name, path)
    return digest.hexdigest()
