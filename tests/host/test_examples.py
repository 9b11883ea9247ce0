"""The examples that are whole apps: from an empty host to a proven deploy under load, a migration, and back."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import packages
from tests.host.host import PROJECT, Host
from tests.host.life import Shop, leaving_nothing
from tests.host.registry import Registry
from tests.host.test_postgres import server
from tests.host.traffic import traffic
from tests.support import wait_until

__all__ = ["server"]

EXAMPLES = PROJECT / "examples"
BOUNDARY = uuid.uuid4().hex
# What the release after it adds: a column, and code that reads it.
DJANGO_COLUMN = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("photos", "0001_photo")]
    operations = [
        migrations.AddField("photo", "title", models.CharField(max_length=80, db_default="untitled")),
    ]
"""
DJANGO_FIELD = 'title = models.CharField(max_length=80, db_default="untitled")'
FASTAPI_COLUMN = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade():
    op.add_column("notes", sa.Column("title", sa.Text, nullable=False, server_default="untitled"))
"""


@pytest.fixture(scope="module", autouse=True)
def _packages(_bootable: None) -> None:
    """What the examples are built with and of, on this machine."""
    subprocess.run([str(Path(__file__).with_name("requirements.sh")), "builds"], check=True, timeout=300)
    packages.wheels(packages.FOLDER, *packages.WHEELS)
    for example in ("django", "fastapi"):
        packages.locked(EXAMPLES / example / "requirements.txt")


@contextlib.contextmanager
def example(host: Host, folder: str, name: str) -> Iterator[Shop]:
    """The project of an example on a host that has a registry of its packages; nothing of it is left afterwards."""
    with Registry(packages.FOLDER, host) as one, leaving_nothing(Shop(host, name, 8000)) as shop:
        host.write("/etc/pip.conf", f"[global]\nindex-url = {one.url}/simple\ntrusted-host = {host.address}\n")
        host.run("sh", "-c", f"mkdir -p {shop.project}; cp -r {EXAMPLES / folder}/. {shop.project}")
        yield shop


def edit(shop: Shop, name: str, before: str, after: str) -> None:
    """Change a file of the project."""
    text = shop.host.read(f"{shop.project}/{name}")
    assert before in text
    shop.host.write(f"{shop.project}/{name}", text.replace(before, after, 1))


def give(host: Host, fields: dict[str, str], name: str, content: bytes, **headers: str) -> int:
    """The status of the answer to a form with a file, as a browser sends it."""
    parts = [f'name="{key}"\r\n\r\n{value}'.encode() for key, value in fields.items()]
    parts.append(f'name="file"; filename="{name}"\r\n\r\n'.encode() + content)
    lines = (b"--%s\r\nContent-Disposition: form-data; %s\r\n" % (BOUNDARY.encode(), part) for part in parts)
    body = b"".join(lines) + f"--{BOUNDARY}--\r\n".encode()
    about = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **headers}

    def request() -> int:
        with contextlib.closing(http.client.HTTPConnection(host.address, 8000, timeout=20)) as connection:
            connection.request("POST", "/", body, about)
            return connection.getresponse().status

    return host.inside(request)


def test_django(host: Host) -> None:
    """SQLite that two releases write, a migration under load, an upload and a worker that outlive a rollback."""
    with example(host, "django", "photos") as shop:
        [command] = re.findall(r"^    (python3 -c .*)$", (EXAMPLES / "django/README.md").read_text(), re.MULTILINE)
        host.run("sh", "-c", command, cwd=shop.project)
        shop("up")
        page = shop.get()
        style = re.findall(r'href="(/static/photos\.[0-9a-f]+\.css)"', page)[0]
        assert "system-ui" in shop.get(style)

        def upload(name: str) -> None:
            cookie = host.get(8000)[1]["set-cookie"].partition(";")[0]
            fields = {"csrfmiddlewaretoken": cookie.partition("=")[2]}
            assert give(host, fields, name, name.encode(), Cookie=cookie) == 302

        upload("first.txt")
        wait_until(lambda: re.search("<code>[0-9a-f]{64}</code>", shop.get()), 30, "the worker")
        first = shop.current()
        host.write(f"{shop.project}/photos/migrations/0002_title.py", DJANGO_COLUMN)
        edit(shop, "photos/models.py", "    at =", f"    {DJANGO_FIELD}\n    at =")
        edit(shop, "photos/templates/photos.html", "<code>", "{{ photo.title }} <code>")
        edit(shop, "photos/static/photos.css", "2rem", "3rem")
        with traffic(host, 8000) as sent:
            sent.flows()
            shop("deploy", "--prove")
            assert "untitled" in shop.get()
            upload("second.txt")
            sent.flows()
            shop("rollback", "--prove")
            upload("third.txt")
            sent.flows()
        assert sent.lost == []
        assert shop.current() == first
        for name in (names := ("first.txt", "second.txt", "third.txt")):
            assert shop.get(f"/media/{name}") == name
        wait_until(lambda: len(re.findall("<code>[0-9a-f]{64}</code>", shop.get())) == 3, 30, "the worker")
        assert "system-ui" in shop.get(style)
        assert host.run("ls", "/srv/photos/shared/media").stdout.split() == [*names]


def test_fastapi(server: Host) -> None:
    """Debian's Postgres without a password, a migration under load, files that outlive a rollback."""
    host = server
    page = (EXAMPLES / "fastapi/README.md").read_text()
    for command in re.findall(r"^    (sudo -u postgres .*)$", page, re.MULTILINE):
        host.run("sh", "-c", f"cd / && {command}")
    with example(host, "fastapi", "notes") as shop:
        shop("up")
        assert give(host, {"text": "early"}, "first.txt", b"first") == 201
        first = shop.current()
        host.write(f"{shop.project}/migrations/versions/0002_title.py", FASTAPI_COLUMN)
        edit(shop, "notes/tables.py", "    at:", '    title: Mapped[str] = mapped_column(server_default="")\n    at:')
        edit(shop, "notes/web.py", '"text": one.text', '"text": one.text + one.title')
        with traffic(host, 8000) as sent:
            sent.flows()
            shop("deploy", "--prove")
            assert json.loads(shop.get())[0]["text"] == "earlyuntitled"
            assert give(host, {"text": "late"}, "second.txt", b"second") == 201
            sent.flows()
            shop("rollback", "--prove")
            assert give(host, {"text": "last"}, "third.txt", b"third") == 201
            sent.flows()
        assert sent.lost == []
        assert shop.current() == first
        notes = json.loads(shop.get())
        assert [one["text"] for one in notes] == ["last", "late", "early"]
        assert [shop.get(one["file"]) for one in notes] == ["third", "second", "first"]
    host.run("sh", "-c", "cd / && sudo -u postgres dropdb notes && sudo -u postgres dropuser notes")
