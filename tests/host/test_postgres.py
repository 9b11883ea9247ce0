"""docs/database.md on Postgres: Debian's own, on a host, as the page says."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.host.host import PROJECT, Host
from tests.host.life import Shop, leaving_nothing, visits
from tests.support import wait_until

PAGE = (PROJECT / "docs" / "database.md").read_text().partition("## Postgres")[2]
# It has no driver here: psql, once a request, and again while Postgres is away.
APP = """
import os, subprocess, time
RELEASE = os.environ["GAPLESS_RELEASE"]
PSQL = ["psql", "--no-psqlrc", "-Atc", "SELECT count(*) FROM orders", os.environ["DATABASE_URL"]]

def app(environ, start_response):
    end = time.monotonic() + 15
    while (done := subprocess.run(PSQL, capture_output=True, text=True)).returncode and time.monotonic() < end:
        time.sleep(0.1)
    start_response("200 OK" if done.returncode == 0 else "500 Error", [("Content-Type", "text/plain")])
    return [f"{RELEASE} {done.stdout}{done.stderr}".encode()]
"""


# Whoever comes while another asks has his answer: fifty visitors a second would be fifty of psql.
TOGETHER = """
import threading
LOCK, LAST, alone = threading.Lock(), [0.0, ()], app

def app(environ, start_response):
    with LOCK:
        if time.monotonic() - LAST[0] > 0.3:
            LAST[1] = alone(environ, lambda *said: LAST.append(said))
            LAST[0] = time.monotonic()
    start_response(*LAST[-1])
    return LAST[1]
"""


def commands(block: str) -> list[str]:
    """The indented lines of the page that begin with a word."""
    return [line.strip() for line in PAGE.splitlines() if line.startswith(f"    {block}")]


@pytest.fixture(scope="module")
def server(host: Host) -> Host:
    """A host with a Postgres that runs."""
    subprocess.run([str(Path(__file__).with_name("requirements.sh")), "postgres"], check=True, timeout=300)
    version = host.run("ls", "/usr/lib/postgresql").stdout.split()[-1]
    if host.run("test", "-d", f"/var/lib/postgresql/{version}/main", check=False).returncode:
        host.run("pg_createcluster", version, "main")
    host.run("systemctl", "start", f"postgresql@{version}-main.service")
    return host


@pytest.fixture
def shop(server: Host) -> Iterator[Shop]:
    """The app, up, with the settings of the page; its role and its database are made as the page says."""
    for command in commands("sudo -u postgres create"):
        server.run("sh", "-c", f"cd / && {command}")
    settings = re.findall(r"^    (\[env\].*?'''\n.*?''')$", PAGE, re.MULTILINE | re.DOTALL)[0]
    with leaving_nothing(Shop(server, "shop", 8000)) as one:
        one.write(config=re.sub(r"^    ", "", settings, flags=re.MULTILINE))
        server.write(f"{one.project}/app.py", APP)
        server.write(f"{one.project}/migrate.sql", "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1), (2);")
        one("up")
        yield one
    server.run("sh", "-c", "cd / && sudo -u postgres dropdb shop && sudo -u postgres dropuser shop")


@contextlib.contextmanager
def reading(shop: Shop) -> Iterator[Callable[[str], int]]:
    """Inside, a transaction that has read the table does not end; what is given counts the sessions of a kind."""
    psql = ["sudo", "-u", "postgres", "env", "PGAPPNAME=reader", "psql", "--no-psqlrc", "shop"]
    reader = shop.host.popen(*psql, "-c", "BEGIN", "-c", "SELECT * FROM orders", "-c", "SELECT pg_sleep(300)", cwd="/")
    ask = [one.replace("reader", "asks") for one in psql]
    sleeps = "application_name = 'reader' AND query LIKE '%sleep%'"

    def asked(what: str, such: str) -> str:
        query = f"SELECT {what} FROM pg_stat_activity WHERE {such} AND pid <> pg_backend_pid()"  # noqa: S608 -- ours
        return shop.host.run(*ask, "-Atc", query, cwd="/").stdout.strip()

    wait_until(lambda: asked("count(*)", sleeps) == "1")
    try:
        yield lambda such: int(asked("count(*)", such))
    finally:
        asked("pg_terminate_backend(pid)", sleeps)
        reader.communicate(timeout=30)


def test_a_bad_migration_is_gone_back_from(shop: Shop) -> None:
    """The dump before it brings back what it deleted; Postgres knows the app by its system user, without a password."""
    assert shop.get().split()[1] == "2"
    shop.host.write(f"{shop.project}/migrate.sql", "DELETE FROM orders;")
    bad = shop.deploy()
    assert shop.get().split()[1] == "0"
    shop("rollback", "--yes")
    shop.settled()
    for command in commands("sudo gapless "):
        shop(*command.replace("sudo gapless ", "").replace("RELEASE", bad).split())
    assert shop.get().split()[1] == "2"


def test_a_dump_that_fails_keeps_from_migrating(shop: Shop) -> None:
    """Invariant 3: nothing is migrated then, and what serves goes on."""
    shop.host.write(f"{shop.project}/migrate.sql", "DELETE FROM orders;")
    toml = shop.host.read(f"{shop.project}/gapless.toml")
    shop.host.write(f"{shop.project}/gapless.toml", toml.replace("custom", "nonsense"))
    assert "nonsense" in shop.fails("deploy")
    assert shop.get().split()[1] == "2"


def test_a_migration_that_would_stop_the_site_gives_up(shop: Shop) -> None:
    """Invariants 3 and 8: behind a transaction that does not end it waits as long as the page says, and visitors go on.

    With a longer wait they feel it: --prove, which looks on already, refuses the release, and advises the same.
    """
    path = f"{shop.project}/gapless.toml"
    toml = shop.host.read(path)
    shop.host.write(path, toml.replace("lock_timeout=2s", "lock_timeout=60s"))
    shop.host.write(f"{shop.project}/app.py", f"{APP}\n{TOGETHER}")
    shop.host.write(f"{shop.project}/migrate.sql", "SELECT 1;")
    before = shop.deploy()
    shop.host.write(f"{shop.project}/migrate.sql", "BEGIN; ALTER TABLE orders ADD COLUMN paid int; COMMIT;")
    with reading(shop) as sessions:
        proving = shop.popen("deploy", "--prove", "--max-latency", "2s")
        wait_until(lambda: sessions("query LIKE 'SELECT count%' AND now() - query_start > '3 s'") > 0, 90)
    told = proving.communicate(timeout=60)[0]
    assert proving.returncode == 1
    assert "in the phase `migrate`" in told
    assert "Try:   let the migration wait for a lock for a second or two" in told
    shop.host.write(path, toml)
    shop.host.write(f"{shop.project}/migrate.sql", "BEGIN; ALTER TABLE orders ADD COLUMN sent int; COMMIT;")
    with visits(shop) as seen:
        with reading(shop):
            assert "canceling statement due to lock timeout" in shop.fails("deploy")
        assert shop.current() == before
        shop.deploy()
    assert seen.lost == []


def test_a_restart_of_postgres_under_load(shop: Shop) -> None:
    """An app that tries again loses no visitor, also in the middle of an overlap."""
    with visits(shop) as seen:
        wait_until(lambda: len(seen.answers) > 10)
        for _ in range(2):
            shop.host.run("sh", "-c", "systemctl restart 'postgresql@*'")
            shop.host.write(f"{shop.project}/migrate.sql", "SELECT 1;")
            shop.deploy()
        before = len(seen.answers)
        wait_until(lambda: len(seen.answers) > before + 10)
    assert seen.lost == []
    assert len(seen.releases) == 3
