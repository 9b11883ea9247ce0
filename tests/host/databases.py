"""An app with a SQLite database, Litestream, and an S3 on a host."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing
from tests.support import wait_until

PROGRAM = "/usr/local/bin/litestream"
DIRECTORY = "/var/backups/shop"
FILE = f'replica = "file://{DIRECTORY}"'
DATABASE = "/srv/shop/shared/shop.db"
UNIT = "shop.litestream.service"
# It answers once the order is committed.
APP = """
import json, os, sqlite3, time
PATH = os.path.join(os.environ["GAPLESS_SHARED"], "shop.db")
database = sqlite3.connect(PATH, timeout=10, isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, at REAL, size INTEGER)")
RELEASE = os.environ["GAPLESS_RELEASE"]

async def app(scope, receive, send):
    path, status = scope["path"], 200
    try:
        if path.startswith("/add/"):
            database.execute("INSERT INTO orders (id, at, size) VALUES (?, ?, 0)", (path[5:], time.time()))
        said = database.execute("SELECT count(*) FROM orders").fetchone()[0]
    except sqlite3.Error as error:
        status, said = 500, str(error)
    body = f"{RELEASE} {said}".encode()
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
# The three keys that are allowed to act, the rest is refused; as long as it runs.
S3 = """
import json, sys, threading, time, urllib.request
import boto3
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 5000)
server.start()
about = {"endpoint_url": "http://127.0.0.1:5000", "region_name": "us-east-1"}
about |= {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
boto3.client("s3", **about).create_bucket(Bucket="backups")
iam = boto3.client("iam", **about)
iam.create_user(UserName="shop")
every = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="shop", PolicyName="all", PolicyDocument=json.dumps(every))
key = iam.create_access_key(UserName="shop")["AccessKey"]
plain = {"Content-Type": "text/plain"}
for path, data in ("/moto-api/reset-auth", b"0"),:
    urllib.request.urlopen(urllib.request.Request(about["endpoint_url"] + path, data, plain, method="POST"))
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"AWS_ACCESS_KEY_ID={key['AccessKeyId']}\\nAWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}\\n")
import os
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    time.sleep(60)
"""
KEYS = "/opt/s3/keys"


def install_litestream(host: Host) -> None:
    """Send the program of the dev environment to the host, as the controller does."""
    host.run("cp", str(Path(sys.executable).with_name("litestream")), f"{PROGRAM}.new")
    host.run("mv", f"{PROGRAM}.new", PROGRAM)


@dataclass
class Database(Shop):
    """The app `shop` with its database."""

    def release(self, settings: str = FILE, config: str = "", app: str = "") -> None:
        """Write the next release, with the `settings` of its [database]; `app` runs once it has its database."""
        self.write(config=f'{config}\n[database]\npath = "shop.db"\n{settings}\n')
        self.host.write(f"{self.project}/app.py", APP + app)

    def add(self, name: str) -> int:
        """How many orders there are after one more, which is acknowledged."""
        return int(self.get(f"/add/{name}").split()[1])

    def count(self) -> int:
        """How many orders there are."""
        return int(self.get().split()[1])

    def answer(self, *argv: str, check: bool = True) -> dict[str, Any]:
        """What a verb of `gapless database` says."""
        document: dict[str, Any] = json.loads(self("database", *argv, "--json", check=check).stdout)
        return document

    def copied(self) -> None:
        """Wait until the replica has all of it."""
        wait_until(lambda: self.answer("status")["lag_seconds"] == 0, 20, "the replica has all of it")

    def litestream(self, verb: str) -> None:
        """Stop or start Litestream."""
        self.host.run("systemctl", verb, UNIT)

    def lose(self) -> None:
        """Remove the app but for the replica, with all data: as on a new host."""
        self("down", "--data", "--yes")

    def forget_replica(self) -> None:
        """Remove the replica that is on the host's disk."""
        self.host.run("rm", "-rf", DIRECTORY)


@contextlib.contextmanager
def database_up(host: Host, settings: str = FILE, config: str = "") -> Iterator[Database]:
    """The app `shop` with a database, up inside; afterwards nothing of it is left, nor of its replica."""
    with leaving_nothing(Database(host, "shop", 8000)) as one:
        one.release(settings, config)
        one("up")
        yield one
    one.forget_replica()


@contextlib.contextmanager
def s3(host: Host, project: str) -> Iterator[str]:
    """A real S3 API on the host's loopback, a service of it; the settings of [database] for it inside."""
    host.write("/opt/s3/s3.py", S3)
    host.run("rm", "-f", KEYS)
    host.run("systemd-run", "--quiet", "--unit=s3.service", sys.executable, "/opt/s3/s3.py", KEYS)
    try:
        wait_until(lambda: host.run("test", "-e", KEYS, check=False).returncode == 0, 60, "S3 runs")
        host.write(f"{project}/litestream.env", host.read(KEYS), 0o600)
        yield ('replica = "s3://backups/shop"\nendpoint = "http://127.0.0.1:5000"\ncredentials = "litestream.env"\n')
    finally:
        host.run("systemctl", "stop", "s3.service", check=False)
