"""The database: what is known of each package, and how often each was installed.

It is written by two releases at a time, and outlives them all; Litestream may replicate it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wppackages.settings import Failure

TYPES = ("plugin", "theme")
# Each step is one transaction, and only adds: the release before it goes on reading and writing beside it.
STEPS = (
    """
    CREATE TABLE package (
        id INTEGER PRIMARY KEY,
        type TEXT NOT NULL,
        slug TEXT NOT NULL,
        listed TEXT NOT NULL,               -- the last change, as the listing says
        due INTEGER NOT NULL DEFAULT 1,     -- there may be news of it
        state TEXT NOT NULL DEFAULT 'new',  -- new, open, closed
        info TEXT NOT NULL DEFAULT '{}',
        revision INTEGER NOT NULL DEFAULT 0,  -- grows with each change: what a build has not seen yet
        UNIQUE (type, slug)
    );
    CREATE INDEX package_revision ON package (revision);
    CREATE INDEX package_due ON package (id) WHERE due;
    CREATE TABLE installed (
        package INTEGER NOT NULL,
        version TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (package, version)
    ) WITHOUT ROWID;
    """,
    "CREATE TABLE install_day (day TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;",
    """
    CREATE TABLE archive (
        package INTEGER NOT NULL,
        version TEXT NOT NULL,
        shasum TEXT NOT NULL,
        PRIMARY KEY (package, version)
    ) WITHOUT ROWID;
    """,
)
SCHEMA = len(STEPS)


@dataclass(frozen=True)
class Package:
    """A row of the catalogue; `info` is what `upstream.describe` made of the API's answer."""

    id: int
    type: str
    slug: str
    state: str
    info: dict[str, Any]

    @property
    def name(self) -> str:
        """What Composer calls it."""
        return f"wp-{self.type}/{self.slug}"


COLUMNS = "id, type, slug, state, info"


def connect(path: Path) -> sqlite3.Connection:
    """Open the database at `path`, which must be there; raises Failure that says how to make it."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=10)
        # FULL: what was counted is still counted after a power cut.
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -1024")
    except sqlite3.OperationalError as error:
        raise Failure(f"cannot open {path}: {error}. `python -m wppackages migrate` makes it.") from error
    return connection


@contextlib.contextmanager
def changing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that writes; it waits for others that do."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def schema(connection: sqlite3.Connection) -> int:
    """The steps that the database has seen; more than SCHEMA after a newer release."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def ready(connection: sqlite3.Connection) -> int:
    """The schema, if it is this release's or newer and the database can be written; raises Failure if not."""
    seen = schema(connection)
    if seen < SCHEMA:
        raise Failure(f"the database is at step {seen} of {SCHEMA}: `python -m wppackages migrate`")
    with changing(connection):
        pass
    return seen


def migrate(path: Path) -> list[int]:
    """Take the steps that the database at `path` has not seen; their numbers. Makes it where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o644)
    connection, taken = connect(path), []
    with contextlib.closing(connection):
        for number, step in enumerate(STEPS, 1):
            with changing(connection):
                if schema(connection) < number:
                    for statement in step.split(";"):  # not executescript(): that commits first
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {number}")
                    taken.append(number)
    return taken


def package(row: Iterable[Any]) -> Package:
    """Make a package of a row of COLUMNS."""
    id_, type_, slug, state, info = row
    return Package(id_, type_, slug, state, json.loads(info))


def find(connection: sqlite3.Connection, name: str) -> Package | None:
    """The package that Composer calls `name`, whatever its state."""
    vendor, _, slug = name.partition("/")
    where = (vendor.removeprefix("wp-"), slug)
    row = connection.execute(f"SELECT {COLUMNS} FROM package WHERE type = ? AND slug = ?", where).fetchone()
    return package(row) if row and vendor.startswith("wp-") else None


def due(connection: sqlite3.Connection, limit: int) -> list[tuple[Package, str]]:
    """Packages of which there may be news, at most `limit`, each with the change that the listing told of."""
    rows = connection.execute(f"SELECT listed, {COLUMNS} FROM package WHERE due ORDER BY id LIMIT ?", (limit,))
    return [(package(row), listed) for listed, *row in rows]


def listed(connection: sqlite3.Connection, type_: str, changes: Iterable[tuple[str, str]]) -> int:
    """Take down what a page of the listing says, (slug, last change); how many packages have news."""
    with changing(connection):
        before = connection.total_changes
        connection.executemany(
            """INSERT INTO package (type, slug, listed) VALUES (?, ?, ?)
            ON CONFLICT DO UPDATE SET listed = excluded.listed, due = 1 WHERE listed <> excluded.listed""",
            [(type_, slug, changed) for slug, changed in changes],
        )
        return connection.total_changes - before


def missed(connection: sqlite3.Connection, type_: str, seen: set[str]) -> int:
    """Have the packages looked at that a whole listing no longer shows: they may be closed. How many there are."""
    rows = connection.execute("SELECT id, slug FROM package WHERE type = ? AND state = 'open' AND NOT due", (type_,))
    gone = [(id_,) for id_, slug in rows if slug not in seen]
    with changing(connection):
        connection.executemany("UPDATE package SET due = 1, listed = '' WHERE id = ?", gone)
    return len(gone)


def store(connection: sqlite3.Connection, one: Package, listed: str) -> bool:
    """Keep what the API said of a package for the change `listed`; whether that is new. Within `changing`."""
    info = json.dumps(one.info, sort_keys=True, ensure_ascii=False)
    # What the listing told of while we asked keeps it due. A closed one that is listed again is looked at again.
    then = listed if one.state == "open" else ""
    connection.execute("UPDATE package SET due = 0, listed = ? WHERE id = ? AND listed = ?", (then, one.id, listed))
    done = connection.execute(
        """UPDATE package SET state = ?, info = ?, revision = (SELECT max(revision) + 1 FROM package)
        WHERE id = ? AND (state, info) <> (?, ?)""",
        (one.state, info, one.id, one.state, info),
    )
    return done.rowcount > 0
