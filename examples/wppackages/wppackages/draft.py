"""Fill the file that becomes a build, and give what changed a newer stamp."""

from __future__ import annotations

import contextlib
import gzip
import json
import sqlite3
import time
from datetime import UTC, datetime
from typing import Any

from wppackages import catalogue, composer
from wppackages.build import LIST, Build, rank
from wppackages.catalogue import Package
from wppackages.settings import Settings

ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
DATES = ("%Y-%m-%d %I:%M%p GMT", "%Y-%m-%d")  # of plugins, of themes


class Draft:
    """A file that becomes a build, beside the build that is published."""

    def __init__(self, file: sqlite3.Connection, before: Build | None, settings: Settings) -> None:
        self._file, self._before, self._settings = file, before, settings
        self._now = int(time.time())
        self._changed = 0

    def fill(self, database: sqlite3.Connection, since: int) -> int:
        """Bring in the packages that changed after the revision `since`; how many documents are others now."""
        rows = database.execute(
            f"SELECT {catalogue.COLUMNS} FROM package WHERE revision > ? AND state <> 'new' ORDER BY id", (since,)
        )
        archives = self._archives(database)
        names = False
        for row in rows:
            package = catalogue.package(row)
            names |= self._remove(package) != self._add(package, archives.get(package.id, {}))
        if names or since < 0:
            listed = [name for (name,) in self._file.execute("SELECT name FROM package ORDER BY name")]
            self._put(LIST, {"packageNames": listed})
        if since < 0:
            self._withdraw_the_rest()
        return self._changed

    def finish(self, revision: int) -> None:
        """Take down what the build is of, and how many packages it has."""
        counts = dict(self._file.execute("SELECT type, count(*) FROM package GROUP BY type"))
        made = datetime.fromtimestamp(self._now, UTC).isoformat()
        meta = {"revision": revision, "url": self._settings.url, "made": made}
        meta |= {type_: counts.get(type_, 0) for type_ in catalogue.TYPES}
        self._file.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, str(meta[key])) for key in meta])

    def restamp(self) -> int:
        """Give the documents that differ from those before newer stamps; withdraw those that only were before."""
        for path, body in self._file.execute("SELECT path, body FROM document").fetchall():
            self._put_bytes(path, body)
        self._withdraw_the_rest()
        return self._changed

    def _archives(self, database: sqlite3.Connection) -> dict[int, dict[str, str]]:
        found: dict[int, dict[str, str]] = {}
        for id_, version, shasum in database.execute("SELECT package, version, shasum FROM archive"):
            if (self._settings.archives / f"{shasum}.zip").exists():  # not after a restore elsewhere
                found.setdefault(id_, {})[version] = shasum
        return found

    def _remove(self, package: Package) -> bool:
        """Whether it was there."""
        row = self._file.execute("SELECT rank FROM package WHERE name = ?", (package.name,)).fetchone()
        if row:
            self._file.execute("DELETE FROM words WHERE rowid = ?", row)
            self._file.execute("DELETE FROM package WHERE rank = ?", row)
        return row is not None

    def _add(self, package: Package, mirrored: dict[str, str]) -> bool:
        """Whether it is there now."""
        if package.state != "open":
            for path in (package.name, f"{package.name}~dev"):
                self._put_bytes(path, None)
            return False
        info, number = package.info, rank(package)
        shown = [info[key] for key in ("name", "summary", "author", "version", "tested", "requires", "requires_php")]
        values = (number, package.name, package.type, *shown, info["installs"], _iso(info["last_updated"]))
        self._file.execute(f"INSERT INTO package VALUES ({', '.join('?' * len(values))})", values)
        words = (number, package.slug, info["name"], info["summary"], " ".join(info["tags"]), package.type)
        self._file.execute(
            "INSERT INTO words (rowid, name, title, summary, tags, type) VALUES (?, ?, ?, ?, ?, ?)", words
        )
        for path, document in composer.documents(package, mirrored, self._settings.url).items():
            self._put(path, document)
        return True

    def _put(self, path: str, document: dict[str, Any]) -> None:
        self._put_bytes(path, gzip.compress(ENCODER.encode(document).encode(), 6, mtime=0))

    def _put_bytes(self, path: str, body: bytes | None) -> None:
        before = self._before.document(path) if self._before else None
        if before is None and body is None:
            return
        stamp = self._now
        if before is not None and before[1] == body:
            stamp = before[0]
        else:
            self._changed += 1
            stamp = max(self._now, before[0] + 1) if before else self._now
        self._file.execute("INSERT OR REPLACE INTO document VALUES (?, ?, ?)", (path, stamp, body))

    def _withdraw_the_rest(self) -> None:
        if self._before is None:
            return
        here = {path for (path,) in self._file.execute("SELECT path FROM document")}
        for path in self._before.paths():
            if path not in here:
                self._put_bytes(path, None)


def _iso(date: str) -> str:
    for form in DATES:
        with contextlib.suppress(ValueError):
            return datetime.strptime(date, form).replace(tzinfo=UTC).isoformat()
    return ""
