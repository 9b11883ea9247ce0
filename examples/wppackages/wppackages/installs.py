"""Count installs. Composer tells of them once, in one POST that it never repeats, and does not look at the answer."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from wppackages import catalogue
from wppackages.versions import kept

LARGEST = 256 << 10  # bytes of a batch
MOST = 1000  # installs of a batch
OTHER = "other"  # a version that is not offered (any more): what a client sends makes no rows of its own
_writing = threading.Lock()  # SQLite's own queue of writers is a poll


class RefusedError(ValueError):
    """The batch is not what Composer sends; none of it was counted."""


def parse(body: bytes) -> list[tuple[str, str]]:
    """Read a batch: (name, normalized version), each once. Raises RefusedError."""
    try:
        items = json.loads(body)["downloads"]
        found = dict.fromkeys((item["name"].lower(), item["version"]) for item in items)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RefusedError('it is not {"downloads": [{"name": …, "version": …}]}') from error
    if len(items) > MOST or not all(isinstance(part, str) and _is_text(part) for pair in found for part in pair):
        raise RefusedError(f"it has more than {MOST} installs, or a version that is no string")
    return list(found)


def _is_text(part: str) -> bool:
    """Whether it can be written down: JSON may have half of a character."""
    return part.encode(errors="ignore").decode() == part


def count(database: sqlite3.Connection, batch: list[tuple[str, str]]) -> int:
    """Count the installs of a batch that are of packages we know; how many. They are on the disk when this returns."""
    counted, versions = Counter[tuple[int, str]](), dict[str, list[str]]()
    for name, version in batch:
        versions.setdefault(name, []).append(version)
    for name, wanted in versions.items():  # a package once: of some, to judge their versions takes a while
        package = catalogue.find(database, name)
        if package is not None:
            offered = {"dev-trunk"}
            if package.state == "open":
                offered |= {one.normalized for one in kept(package.info["versions"], package.info["version"])}
            counted.update((package.id, one if one in offered else OTHER) for one in wanted)
    rows = [(id_, version, times) for (id_, version), times in counted.items()]
    if rows:
        with _writing, catalogue.changing(database):
            database.executemany(
                "INSERT INTO installed VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count", rows
            )
            database.execute(
                "INSERT INTO install_day VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
                (_day(0), counted.total()),
            )
    return counted.total()


def of(database: sqlite3.Connection, name: str) -> dict[str, int]:
    """The installs of a package by version."""
    package = catalogue.find(database, name)
    asked = (package.id if package else -1,)
    return dict(database.execute("SELECT version, count FROM installed WHERE package = ? ORDER BY count DESC", asked))


def stats(database: sqlite3.Connection) -> dict[str, Any]:
    """All installs, and those of the last thirty days (UTC)."""
    total = database.execute("SELECT coalesce(sum(count), 0) FROM install_day").fetchone()[0]
    days = dict(database.execute("SELECT day, count FROM install_day WHERE day > ? ORDER BY day", (_day(30),)))
    return {"total": total, "days": days}


def _day(ago: int) -> str:
    return (datetime.now(UTC) - timedelta(days=ago)).date().isoformat()
