"""The database of an app: looked at, and replaced as a whole; only ever by children that have become its account."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.reading import reading_as
from gapless.switch.systemd.litestream import Litestream

BESIDE = ("-wal", "-shm")  # what SQLite has beside a database
BUSY = 10.0  # seconds to wait for who writes
OURS = ("sqlite_", "_litestream_")  # tables that are not the app's


def newest(one: Litestream) -> dict[str, list[object]]:
    """The newest row of each table of the app: its number, and a digest of it. Raises GaplessError."""
    found: dict[str, list[object]] = _as_app(one, "read", one.path, lambda: _newest(one.path))
    return found


def without(one: Litestream, copy: Path, rows: dict[str, list[object]]) -> list[str]:
    """Name the tables whose newest row, as it was in `rows`, is missing in `copy` and not gone or changed since."""
    there = _as_app(one, "read", copy, lambda: _chosen(copy, rows))
    now = _as_app(one, "read", one.path, lambda: _chosen(one.path, rows))
    return [table for table, row in rows.items() if there[table] != row[1] and now[table] == row[1]]


def size(path: Path) -> int:
    """Bytes of a file, which is not opened; 0 of what is none."""
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


def written(path: Path) -> float:
    """When the database or what SQLite has beside it was written last, in Unix time; 0 where there is none."""
    times = [0.0]
    for one in (path, path.with_name(f"{path.name}-wal")):
        with contextlib.suppress(FileNotFoundError):
            times.append(one.lstat().st_mtime)
    return max(times)


@contextlib.contextmanager
def scratch(one: Litestream, what: str) -> Iterator[Path]:
    """The path of a file beside the database that is to be made; what is left of it afterwards, or of others, goes."""
    path = one.path.with_name(f".{one.path.name}.{what}")
    forget(one, path)
    try:
        yield path
    finally:
        forget(one, path)


def forget(one: Litestream, path: Path) -> None:
    """Remove a file, and what SQLite and Litestream have beside it. Raises GaplessError."""
    beside = [path, *(path.with_name(f"{path.name}{end}") for end in (*BESIDE, ".tmp", ".tmp-wal", ".tmp-shm"))]

    def remove() -> None:
        for each in beside:
            each.unlink(missing_ok=True)

    _as_app(one, "remove", path, remove)


def restore_missing(one: Litestream) -> bool:
    """Restore a database that is not there, where there is a replica; whether that was done. Raises GaplessError."""
    if os.path.lexists(one.path):
        return False
    _as_app(one, "make", one.path.parent, lambda: one.path.parent.mkdir(parents=True, exist_ok=True))
    with scratch(one, "restoring") as copy:
        if not one.restore(copy, "-if-replica-exists"):
            return False
        _as_app(one, "rename", one.path, lambda: _place(copy, one.path))
    return True


def must_be_writable(one: Litestream, directory: Path) -> None:
    """Raises GaplessError unless the app's account may write to `directory`, where the replica is to be."""
    if not _as_app(one, "write to", directory, lambda: os.access(directory, os.W_OK | os.X_OK)):
        account = one.account.pw_name
        raise GaplessError("write to", str(directory), f"{account} may not", f"chown -R {account}: {directory}")


def forget_position(one: Litestream) -> None:
    """Let Litestream, which does not run, begin with its replica as it finds that. Raises GaplessError."""
    _as_app(one, "forget how far Litestream is with", one.path, lambda: _forget_position(one.path))


def swap(one: Litestream, copy: Path, kept: Path) -> None:
    """Put `copy` in the place of the database that nobody has open; the present one is `kept` beside it.

    At any instant the one or the other is in place, whole. Raises GaplessError.
    """
    _as_app(one, "replace", one.path, lambda: _swap(one.path, copy, kept))


def _newest(path: Path) -> dict[str, list[object]]:
    with contextlib.closing(_opened(path)) as database:
        return {
            table: [row[0], _digest(row)]
            for table in _tables(database)
            if (row := database.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid DESC LIMIT 1").fetchone())  # noqa: S608
        }


def _chosen(path: Path, rows: dict[str, list[object]]) -> dict[str, str]:
    """The digests of the rows with these numbers; empty where there is none."""
    with contextlib.closing(_opened(path)) as database:
        tables, found = _tables(database), dict.fromkeys(rows, "")
        for table in set(rows) & set(tables):
            row = database.execute(f"SELECT rowid, * FROM {table} WHERE rowid = ?", rows[table][:1]).fetchone()  # noqa: S608
            found[table] = _digest(row) if row else ""
        return found


def _tables(database: sqlite3.Connection) -> list[str]:
    """The app's tables whose rows have numbers, quoted."""
    asked = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND wr = 0"
    names = [name.decode("utf-8", "surrogateescape") for (name,) in database.execute(asked)]
    return ['"' + name.replace('"', '""') + '"' for name in names if not name.startswith(OURS)]


def _digest(row: object) -> str:
    return hashlib.sha256(repr(row).encode("utf-8", "surrogatepass")).hexdigest()


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY)  # WAL wants its -shm
    database.text_factory = bytes
    return database


def _place(copy: Path, path: Path) -> None:
    os.link(copy, path)  # not over a database that the app has made meanwhile
    _sync(path.parent)


def _swap(path: Path, copy: Path, kept: Path) -> None:
    log, beside = (one.with_name(f"{one.name}-wal") for one in (path, kept))
    if path.exists():
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(log, beside)  # the closing of a damaged database may take its log away
            _sync_file(beside)
        try:
            with contextlib.closing(_opened(path)) as database:
                busy, *_ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.DatabaseError:
            busy = True  # it is damaged: its log is kept as well
        if not busy:
            beside.unlink(missing_ok=True)
        os.link(path, kept)
    _sync_file(copy)
    _forget_position(path)
    for end in BESIDE:
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
    copy.rename(path)
    _sync(path.parent)


def _forget_position(path: Path) -> None:
    """What Litestream remembers of the database: it reads from the replica then how far that is, and goes on there."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path.with_name(f".{path.name}-litestream"))


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _as_app(one: Litestream, operation: str, path: Path, call: Callable[[], Any]) -> Any:
    """What `call` returns in a child that has become the app's account. Raises GaplessError."""

    def send(stream: BinaryIO) -> None:
        os.umask(0o027)
        try:
            said = {"result": call()}
        except sqlite3.Error as error:
            said = {"cause": str(error)}
        except OSError as error:
            found = refusal(operation, str(path), error)
            said = {"cause": found.cause, "hint": found.hint}
        stream.write(json.dumps(said).encode())

    with reading_as(one.account, send) as stream:
        said = json.loads(stream.read())
    if "cause" in said:
        raise GaplessError(operation, str(path), said["cause"], said.get("hint", ""))
    return said["result"]
