"""[database]: what is refused, what Litestream is told and how it is asked, and the point before a migration."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pwd
import socketserver
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gapless import config
from gapless.config.settings import Config, Database
from gapless.errors import GaplessError
from gapless.release.deploy import deploy
from gapless.switch.systemd import database, litestream
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.litestream import Litestream, refused
from tests.scripted import ScriptedManager
from tests.unit.release_kit import configure, make_project
from tests.unit.release_shop import Shop

LEAST = 'name = "shop"\ncommand = "gapless serve shop:app"\n'
WHOLE = '[database]\npath = "shop.db"\nreplica = "s3://backups/shop"\nendpoint = "https://s3.example.com"\n'
MIGRATION = '[release]\nmigrate = "touch $GAPLESS_SHARED/migrated"\n'


def parsed(text: str) -> Config:
    return config.parse(LEAST + text, Path("gapless.toml"))


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ('path = "/srv/shop.db"', "`database.path`: '/srv/shop.db' is not the path of a file in $GAPLESS_SHARED"),
        ('path = "../shop.db"', "`database.path`: '../shop.db'"),
        ('path = "a//b"', "`database.path`: 'a//b'"),
        ('path = "a b"', "`database.path`: 'a b'"),
        ('path = ""', "`database.path` is missing"),
        ('replica = ""', "`database.replica`: '' is no place"),
        ('replica = "s3://backups"', "`database.replica`: 's3://backups' is no place"),
        ('replica = "file://backups/shop"', "`database.replica`: 'file://backups/shop' is no place"),
        ('replica = "file:///a/../b"', "`database.replica`: 'file:///a/../b' is no place"),
        ('replica = "sftp://backups/shop"', "`database.replica`: 'sftp://backups/shop' is no place"),
        ('endpoint = "s3.example.com"', "`database.endpoint`: 's3.example.com' cannot be used"),
        ('replica = "file:///backups/shop"', "`database.endpoint`: 'https://s3.example.com' cannot be used"),
        ('snapshot = "200h"', "`database.snapshot` is 0, or longer than `database.retention`"),
    ],
)
def test_what_is_refused(change: str, cause: str) -> None:
    """Root writes it into a unit and into Litestream's configuration: only what is meant gets there."""
    key = change.partition(" ")[0]
    kept = [line for line in WHOLE.splitlines() if not line.startswith(key)]
    with pytest.raises(GaplessError) as caught:
        parsed("\n".join([*kept, change]))
    assert cause in str(caught.value)
    assert caught.value.status == 2


def test_an_unknown_setting_is_refused() -> None:
    """Litestream ignores what it does not know; we do not."""
    with pytest.raises(GaplessError, match=r"unknown key `database\.retetion`") as caught:
        parsed(f'{WHOLE}retetion = "24h"\n')
    assert caught.value.hint == "did you mean `database.retention`?"


def test_what_litestream_is_told() -> None:
    """What it keeps is at the top, where 0.5.17 reads it; each point of a sync can be gone back to for a day."""
    one = Litestream(SystemdHome("shop"), parsed(WHOLE).database)
    said = json.loads(one.config().partition("\n")[2])
    assert said["snapshot"] == {"interval": "86400s", "retention": "604800s"}
    assert said["l0-retention"] == "86400s"
    replica = {"url": "s3://backups/shop", "endpoint": "https://s3.example.com", "force-path-style": True}
    assert said["dbs"] == [{"path": "/srv/shop/shared/shop.db", "replica": replica}]
    assert litestream.of(SystemdHome("shop", user=True), parsed(WHOLE)) is None
    assert litestream.of(SystemdHome("shop"), parsed("")) is None


@pytest.mark.parametrize(
    ("operation", "said", "cause"),
    [
        ("read", "Error: operation error S3: ListObjectsV2, api error AccessDenied", "the replica refuses the cred"),
        ("read", "Error: get credentials: no EC2 IMDS role found, StatusCode: 403", "the replica refuses the cred"),
        ("read", "Error: api error NoSuchBucket: The bucket does not exist", "there is no such bucket"),
        ("sync", "write /mnt/x.ltx: no space left on device", "a disk is full"),
        ("sync", "open /mnt/x.ltx: permission denied", "the app's account may not write there"),
        ("restore", "Error: decode page: ltx file checksum mismatch", "the replica is damaged"),
        ("sync", "something else", "something else"),
        ("sync", "", "it said nothing"),
    ],
)
def test_what_litestream_says_is_explained(operation: str, said: str, cause: str) -> None:
    """Invariant 8: the cause in plain words, and Litestream's own behind it."""
    error = refused(operation, "shop.db", said)
    assert error.cause.startswith(cause)


class _Stream(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[Path, list[dict[str, Any]], list[dict[str, Any]]]]:
    """A stand-in of Litestream's control socket: its path, what it was asked, and what it is to answer."""
    asked: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = json.dumps(answers.pop(0)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return ""

        def log_message(self, *_about: object) -> None:
            pass

    path = tmp_path / "control.sock"
    with _Stream(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path, asked, answers
        server.shutdown()


def running(monkeypatch: pytest.MonkeyPatch, control: Path) -> Litestream:
    one = Litestream(SystemdHome("shop"), Database(path="shop.db", replica="file:///mnt/shop"))
    monkeypatch.setattr(Litestream, "control", control)
    monkeypatch.setattr(Litestream, "state", lambda _self: {"ActiveState": "active"})
    return one


def test_a_sync_never_asks_with_a_time_out(
    monkeypatch: pytest.MonkeyPatch, daemon: tuple[Path, list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    """With its end, others could restart the log before Litestream has read it: the replica would be damaged."""
    control, asked, answers = daemon
    answers += [{"txid": 26, "replicated_txid": 24}, {"txid": 27, "replicated_txid": 25}]
    answers += [{"txid": 28, "replicated_txid": 26}]
    assert running(monkeypatch, control).sync() == "000000000000001a"
    assert asked == [{"path": "/srv/shop/shared/shop.db"}] * 3


def test_a_sync_that_does_not_get_there(
    monkeypatch: pytest.MonkeyPatch, daemon: tuple[Path, list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    """Invariant 8: how far it is, after the time that it had."""
    control, _asked, answers = daemon
    answers += [{"txid": 26, "replicated_txid": 24}] * 100
    with pytest.raises(GaplessError, match=r"the replica has 24 transactions of 26 after 0\.3 s"):
        running(monkeypatch, control).sync(0.3)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    project = make_project(tmp_path / "shop")
    return Shop(project, ScriptedManager(project / ".gapless"))


def test_the_point_before_a_migration_is_in_the_ledger(shop: Shop) -> None:
    """The replica is brought up to date after the build, before the migration, and only where there is one."""
    configure(shop.project, WHOLE + MIGRATION)
    target = replace(shop.target, backup=lambda _config: "000000000000001a")
    result = deploy(target, shop.project)
    assert [phase.name for phase in result.phases] == ["install", "seal", "back up", "migrate", "switch over", "prune"]
    assert shop.target.ledger.before(result.release) == "000000000000001a"
    configure(shop.project, WHOLE)
    without = deploy(target, shop.project)
    assert "back up" not in {phase.name for phase in without.phases}
    assert shop.target.ledger.before(without.release) == ""


def test_without_a_replica_nothing_is_migrated(shop: Shop) -> None:
    """Invariants 3 and 8: the cause, both ways out, and nothing was touched."""
    first = shop.deploy()
    configure(shop.project, WHOLE + MIGRATION)

    def away(_config: Config) -> str:
        raise GaplessError("sync", "shop.db", "the replica is away", "is it up?")

    with pytest.raises(GaplessError, match="the replica is away") as caught:
        deploy(replace(shop.target, backup=away), shop.project)
    assert caught.value.hint == "is it up?; or migrate without: `gapless deploy --without-backup`"
    assert not (shop.target.home.shared / "migrated").exists()
    assert shop.manager.current() == first
    assert deploy(shop.target, shop.project).release != first


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Litestream:
    """A database of ours, in WAL mode, with two rows."""
    monkeypatch.setattr(Litestream, "account", pwd.getpwuid(os.getuid()))
    monkeypatch.setattr(Litestream, "path", tmp_path / "shop.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as made, made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute('CREATE TABLE "a ""b""" (id INTEGER PRIMARY KEY, name TEXT)')
        made.executemany('INSERT INTO "a ""b""" VALUES (?, ?)', [(1, "first"), (2, "second")])
    return Litestream(SystemdHome("shop"), Database(path="shop.db", replica="file:///mnt/shop"))


def test_the_newest_rows(one: Litestream, tmp_path: Path) -> None:
    """A copy without one of them is found out; a row that was changed or removed since is nobody's loss."""
    rows, copy = database.newest(one), tmp_path / "copy.db"
    assert list(rows) == ['"a ""b"""']
    with sqlite3.connect(one.path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    assert database.without(one, copy, rows) == []
    with sqlite3.connect(copy) as changed:
        changed.execute('DELETE FROM "a ""b""" WHERE id = 2')
    assert database.without(one, copy, rows) == ['"a ""b"""']
    with sqlite3.connect(one.path) as changed:
        changed.execute('DELETE FROM "a ""b""" WHERE id = 2')
    assert database.without(one, copy, rows) == []


@pytest.mark.parametrize("damaged", [False, True])
def test_a_swap_keeps_the_one_before(one: Litestream, tmp_path: Path, damaged: bool) -> None:
    """With what was in its log: as a part of it, or beside it where it is damaged."""
    copy, kept = tmp_path / "new", tmp_path / "shop.db.before-now"
    with sqlite3.connect(copy) as new:
        new.execute("CREATE TABLE other (id)")
    (tmp_path / ".shop.db-litestream").mkdir()
    held = sqlite3.connect(one.path)  # a server that is killed leaves the log
    held.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    held.execute('INSERT INTO "a ""b""" VALUES (3, NULL)')
    held.commit()
    log = (tmp_path / "shop.db-wal").read_bytes()
    held.close()
    (tmp_path / "shop.db-wal").write_bytes(log)
    if damaged:
        one.path.write_bytes(b"damaged" * 1000)
    database.swap(one, copy, kept)
    assert sqlite3.connect(one.path).execute("SELECT name FROM sqlite_master").fetchall() == [("other",)]
    assert not (tmp_path / ".shop.db-litestream").exists()
    if damaged:
        assert kept.read_bytes().startswith(b"damaged")
        assert (tmp_path / "shop.db.before-now-wal").read_bytes() == log
    else:
        assert sqlite3.connect(kept).execute('SELECT max(id) FROM "a ""b"""').fetchone() == (3,)
