"""A build: one SQLite file that has every answer ready, never written again once it is published.

A request needs a look-up by key, whatever the number of packages. Packages are numbered by how popular they are, so the
first hits of a search are the best ones, and the rest is not looked at.
"""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wppackages.catalogue import Package
from wppackages.settings import Failure

LIST = "list"  # the path of the document with all names
PAGE = 20  # packages on a page
HIGHEST = 10**9  # installs
ROOM = 10**7  # packages
TABLES = """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE document (
        path TEXT PRIMARY KEY,
        stamp INTEGER NOT NULL,  -- seconds; grows with each change, a withdrawal included
        body BLOB                -- JSON, gzip; NULL: withdrawn
    );
    CREATE TABLE package (
        rank INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, type TEXT NOT NULL, title TEXT NOT NULL,
        summary TEXT NOT NULL, author TEXT NOT NULL, version TEXT NOT NULL, tested TEXT NOT NULL,
        requires TEXT NOT NULL, requires_php TEXT NOT NULL, installs INTEGER NOT NULL, updated TEXT NOT NULL
    );
    CREATE INDEX package_updated ON package (updated);
    CREATE INDEX package_type ON package (type, rank);
    CREATE VIRTUAL TABLE words USING fts5 (name, title, summary, tags, type, prefix = '2 3');
"""


@dataclass(frozen=True)
class Listed:
    """A package as pages show it; `updated` is ISO 8601."""

    rank: int
    name: str
    type: str
    title: str
    summary: str
    author: str
    version: str
    tested: str
    requires: str
    requires_php: str
    installs: int
    updated: str


def rank(package: Package) -> int:
    """The number of a package in builds: the more installs, the lower."""
    installs: int = package.info["installs"]
    return (HIGHEST - min(installs, HIGHEST)) * ROOM + package.id


class Build:
    """A build's file, open for reading. Raises Failure if it is none, or one that this release cannot read."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        try:
            # immutable: nobody writes it, so there is nothing to lock or to look for beside it.
            self._file = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            self._file.execute("PRAGMA cache_size = -1024")
            self.meta = dict(self._file.execute("SELECT key, value FROM meta"))
        except sqlite3.Error as error:
            raise Failure(f"cannot read the build {path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def document(self, path: str) -> tuple[int, bytes | None] | None:
        """The stamp and the JSON (gzip) of a document; no JSON of one that was withdrawn."""
        row: tuple[int, bytes | None] | None
        row = self._file.execute("SELECT stamp, body FROM document WHERE path = ?", (path,)).fetchone()
        return row

    def paths(self) -> list[str]:
        """The paths of all documents."""
        return [path for (path,) in self._file.execute("SELECT path FROM document")]

    def package(self, name: str) -> Listed | None:
        """What pages show of one package."""
        return next(iter(self._listed("WHERE name = ?", name)), None)

    def popular(self, type_: str, page: int) -> list[Listed]:
        """A page of all packages, the most installed ones first; one more than PAGE if there is a next page."""
        where, asked = ("WHERE type = ? ", [type_]) if type_ else ("", [])
        return self._listed(f"{where}ORDER BY rank LIMIT ? OFFSET ?", *asked, PAGE + 1, PAGE * (page - 1))

    def newest(self, count: int = 50) -> list[Listed]:
        """The packages that changed last."""
        return self._listed("ORDER BY updated DESC LIMIT ?", count)

    def search(self, query: str, type_: str, page: int) -> list[Listed]:
        """A page of what has all words of `query`; on the first one a package of that very name comes first."""
        words = re.findall(r"[^\W_]+", query)[:8]
        if not words:
            return self.popular(type_, page)
        match = " ".join(f'"{word}"' for word in words) + ("*" if len(words[-1]) > 1 else "")  # it may still be typed
        match = f"{{name title summary tags}} : ({match})" + (f" AND type : {type_}" if type_ else "")
        hits = self._listed(
            "WHERE rank IN (SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid LIMIT ? OFFSET ?) ORDER BY rank",
            *(match, PAGE + 1, PAGE * (page - 1)),
        )
        slug = "-".join(words).lower()
        named = [self.package(f"wp-{one}/{slug}") for one in ("plugin", "theme") if type_ in ("", one)]
        first = [one for one in named if one] if page == 1 else []
        return [*first, *(one for one in hits if one not in first)]

    def names(self, pattern: str) -> list[str]:
        """The names that `pattern` with its "*" fits."""
        if not re.fullmatch(r"[a-z0-9_./*-]{1,200}", pattern):
            return []
        pattern = re.sub(r"\*+", "*", pattern)
        found = self._file.execute("SELECT name FROM package WHERE name GLOB ? ORDER BY name", (pattern,))
        return [name for (name,) in found]

    def versions(self, name: str) -> list[dict[str, Any]]:
        """The entries of the releases and of the development of a package, as they are in its documents."""
        return [one for path in (name, f"{name}~dev") for one in self.entries(path)]

    def entries(self, path: str) -> list[dict[str, Any]]:
        """The entries of a document below p2, each whole."""
        found, whole = self.document(path), dict[str, Any]()
        if found is None or found[1] is None:
            return []
        entries = json.loads(gzip.decompress(found[1]))["packages"][path.removesuffix("~dev")]
        return [(whole := {k: v for k, v in (whole | entry).items() if v != "__unset"}) for entry in entries]

    def _listed(self, where: str, *asked: object) -> list[Listed]:
        return [Listed(*row) for row in self._file.execute(f"SELECT * FROM package {where}", asked)]
