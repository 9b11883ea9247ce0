"""An app with a SQLite database, Litestream, and an S3 on a host."""

from __future__ import annotations

import contextlib
import json
import subprocess
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
database.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, at REAL, body BLOB)")
RELEASE = os.environ["GAPLESS_RELEASE"]

async def app(scope, receive, send):
    path, status = scope["path"], 200
    try:
        if path.startswith("/add/"):
            database.execute("INSERT INTO orders VALUES (?, ?, ?)", (path[5:], time.time(), os.urandom(1000)))
        said = database.execute("SELECT count(*) FROM orders").fetchone()[0]
    except sqlite3.Error as error:
        status, said = 500, str(error)
    body = f"{RELEASE} {said}".encode()
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
# A bucket, and a key that may write there; all else is refused. What it holds is gone when it ends.
S3 = """
import json, os, sys, threading, urllib.request
import boto3
from moto.server import ThreadedMotoServer
address, keys = sys.argv[1:]
ThreadedMotoServer(address, 5000).start()
url = f"http://{address}:5000"
about = {"endpoint_url": url, "region_name": "us-east-1", "aws_access_key_id": "any", "aws_secret_access_key": "any"}
boto3.client("s3", **about).create_bucket(Bucket="backups")
iam = boto3.client("iam", **about)
iam.create_user(UserName="shop")
every = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="shop", PolicyName="all", PolicyDocument=json.dumps(every))
key = iam.create_access_key(UserName="shop")["AccessKey"]
plain = {"Content-Type": "text/plain"}
urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", plain, method="POST"))
with open(f"{keys}.new", "w") as file:
    file.write(f"AWS_ACCESS_KEY_ID={key['AccessKeyId']}\\nAWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}\\n")
os.rename(f"{keys}.new", keys)
threading.Event().wait()
"""
READ = """
import sqlite3, sys
print(*[id for id, in sqlite3.connect(sys.argv[1]).execute("SELECT id FROM orders ORDER BY at")])
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

    def credentials(self, variables: str) -> None:
        """Write the file that `[database] credentials` names."""
        self.host.write(f"{self.project}/litestream.env", variables, 0o600)

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
        wait_until(lambda: self.answer("status")["lag_seconds"] == 0, 60, "the replica has all of it")

    def litestream(self, verb: str) -> None:
        """Stop or start Litestream."""
        self.host.run("systemctl", verb, UNIT)

    def lose(self) -> None:
        """Remove the app but for the replica, with all data: as on a new host."""
        self("down", "--data", "--yes")

    def forget_replica(self) -> None:
        """Remove the replica that is on the host's disk."""
        self.host.run("rm", "-rf", DIRECTORY)


def rows(shop: Database, path: str) -> list[str]:
    """The orders in a database."""
    return shop.host.run("python3", "-c", READ, path, user="shop").stdout.split()


@contextlib.contextmanager
def database_up(host: Host, settings: str = FILE, config: str = "") -> Iterator[Database]:
    """The app `shop` with a database, up inside; afterwards nothing of it is left, nor of its replica."""
    with leaving_nothing(Database(host, "shop", 8000)) as one:
        one.release(settings, config)
        one("up")
        yield one
    one.forget_replica()


def bring(old: Host, new: Host) -> None:
    """Bring the directory with the replica, as a disk is moved, from a host, which may have no power, to another."""
    new.run("mkdir", "-p", DIRECTORY)
    pack = [
        "nsenter",
        f"--target={old.holder}",
        "--mount",
        "tar",
        "-C",
        f"{old.folder}/disk/root{DIRECTORY}",
        "-c",
        ".",
    ]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        subprocess.run(new.argv("tar", "-x", "-C", DIRECTORY), stdin=packing.stdout, check=True, timeout=60)


@contextlib.contextmanager
def s3(host: Host, address: str = "127.0.0.1") -> Iterator[str]:
    """A real S3 API at an address of the host, a service of it; inside, the variables with the key that it accepts."""
    host.write("/opt/s3/s3.py", S3)
    host.run("rm", "-f", KEYS)
    host.run("systemd-run", "--quiet", "--collect", "--unit=s3.service", sys.executable, "/opt/s3/s3.py", address, KEYS)
    try:
        wait_until(lambda: host.run("test", "-e", KEYS, check=False).returncode == 0, 60, "S3 runs")
        yield host.read(KEYS)
    finally:
        host.run("systemctl", "stop", "s3.service", check=False)


def in_s3(address: str = "127.0.0.1") -> str:
    """The settings of [database] for the replica in that S3."""
    return f"""
replica = "s3://backups/shop"
endpoint = "http://{address}:5000"
credentials = "litestream.env"
"""
