"""The example wppackages: what Composer, visitors and a manager are answered."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import json
import re
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from tests.examples.wppackages.conftest import Site, free_port
from tests.examples.wppackages.php import php
from wppackages import catalogue, composer, installs

PATH = "/p2/wp-plugin/high-tags.json"
ATOM = "{http://www.w3.org/2005/Atom}"


def ask(site: Site, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request; the headers' names have _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    try:
        connection.request(method, path, body or None, {key.replace("_", "-"): value for key, value in headers.items()})
        response = connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def batch(*pairs: tuple[str, str]) -> bytes:
    return json.dumps({"downloads": [{"name": name, "version": version} for name, version in pairs]}).encode()


def tell(site: Site, *pairs: tuple[str, str]) -> int:
    """Send a batch of installs; how many were counted."""
    status, _, body = ask(site, "POST", "/downloads", batch(*pairs), Content_Type="application/json")
    assert status == 200, body
    return int(json.loads(body)["counted"])


def test_the_root_says_where_everything_is(served: Site) -> None:
    """packages.json has what Composer 2 needs, for our packages alone."""
    assert served.json("/packages.json") == {
        "packages": [],
        "metadata-url": "/p2/%package%.json",
        "available-package-patterns": ["wp-plugin/*", "wp-theme/*"],
        "notify-batch": "/downloads",
        "search": "/search.json?q=%query%&type=%type%",
        "list": "/packages/list.json",
    }


def test_metadata_is_what_composer_documents(served: Site) -> None:
    """A list of versions, minified: the released one with its `php` and its archive's `shasum`, others without."""
    document = served.json(PATH)
    assert document["minified"] == "composer/2.0"
    newest, older, _ = document["packages"]["wp-plugin/high-tags"]
    assert newest["version"], newest["version_normalized"] == ("1.2", "1.2.0.0")
    assert newest["type"] == "wordpress-plugin"
    assert newest["require"] == {"composer/installers": "^1.0 || ^2.0", "php": ">=7.4"}
    assert newest["dist"]["url"].startswith(f"{served.url}/dist/wp-plugin/high-tags/1.2.0.0-")
    assert len(newest["dist"]["shasum"]) == 40
    assert older["require"] == {"composer/installers": "^1.0 || ^2.0"}
    assert "name" not in older
    theme = served.json(f"/p2/wp-theme/{next(one.slug for one in served.world if one.type == 'theme')}.json")
    assert next(iter(theme["packages"].values()))[0]["type"] == "wordpress-theme"
    assert "php" not in served.json("/p2/wp-plugin/says-no-php.json")["packages"]["wp-plugin/says-no-php"][0]["require"]


@pytest.mark.usefixtures("clients")
def test_composer_reads_what_was_left_out() -> None:
    """Its MetadataMinifier makes of our short entries the whole ones again, keys that went included."""
    whole = [
        {"name": "a", "version": "3", "require": {"php": ">=8"}, "time": "x"},
        {"name": "a", "version": "2", "require": {"b": "*"}},
        {"name": "a", "version": "1", "require": {"b": "*"}, "time": "y"},
    ]
    code = "require '/usr/share/php/Composer/MetadataMinifier/autoload.php';"
    code += "$out = Composer\\MetadataMinifier\\MetadataMinifier::expand($in);"
    assert php(code, composer.minified(whole)) == whole


def test_a_document_that_did_not_change_is_not_sent_again(served: Site) -> None:
    """304 for the very stamp that was sent, without a body; anything else gets the document."""
    status, headers, _ = ask(served, "GET", PATH)
    assert status == 200
    stamp = headers["last-modified"]
    status, headers, body = ask(served, "GET", PATH, If_Modified_Since=stamp)
    assert (status, body) == (304, b"")
    assert headers["last-modified"] == stamp
    assert headers["cache-control"] == "public, max-age=60"
    for other in ("Fri, 01 Jan 2100 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "yesterday"):
        assert ask(served, "GET", PATH, If_Modified_Since=other)[0] == 200


@pytest.mark.parametrize(
    ("accepted", "packed"), [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("", False)]
)
def test_it_is_packed_for_those_who_take_that(served: Site, accepted: str, packed: bool) -> None:
    """The same document either way, and caches are told that there are two forms."""
    status, headers, body = ask(served, "GET", PATH, Accept_Encoding=accepted)
    assert status == 200
    assert headers["vary"] == "accept-encoding"
    assert (headers.get("content-encoding") == "gzip") is packed
    assert json.loads(gzip.decompress(body) if packed else body) == served.json(PATH)


@pytest.mark.parametrize(
    "path", ["/p2/wp-plugin/no.json", "/p2/x.json", "/p2/../list.json", "/p2/%00.json", "/p2/.json"]
)
def test_what_is_not_there_is_said_shortly(served: Site, path: str) -> None:
    """404 of some bytes, which may be kept for a minute."""
    status, headers, body = ask(served, "GET", path)
    assert status == 404
    assert len(body) < 100
    assert headers["cache-control"] == "public, max-age=60"


def test_methods(served: Site) -> None:
    """HEAD is answered without a body; nothing else is taken."""
    status, headers, body = ask(served, "HEAD", PATH)
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 100
    assert ask(served, "POST", PATH)[0] == 405
    assert ask(served, "GET", "/downloads")[0] == 405


def test_names_and_search_are_for_composer(served: Site) -> None:
    """All names, those of a pattern, and hits with their descriptions."""
    everything = served.json("/packages/list.json")["packageNames"]
    assert len(everything) == 67
    assert served.json("/packages/list.json?filter=wp-plugin/h*-tags")["packageNames"] == ["wp-plugin/high-tags"]
    assert served.json("/packages/list.json?filter=%5Ba-z%5D*")["packageNames"] == []
    hits = served.json("/search.json?q=high+tags&type=wordpress-plugin")["results"]
    assert hits[0]["name"] == "wp-plugin/high-tags"
    assert hits[0]["url"] == f"{served.url}/wp-plugin/high-tags"
    assert served.json("/search.json?q=high+tags&type=wordpress-theme")["results"] == []


@pytest.mark.parametrize(
    "query", ["", '"', "a*b:c^d", "NEAR(", "AND OR NOT", "\u00e9\u4e2d", "x" * 3000, "%00", "type : theme", "-"]
)
def test_whatever_is_searched_gets_a_page(served: Site, query: str) -> None:
    """No word of a visitor is taken for a command of the search."""
    for page in ("", "0", "2", "99999", "x"):
        assert served.get(f"/?q={quote(query)}&type={quote(query)}&page={page}")[0] == 200


def test_pages_say_what_upstream_said_as_text(site: Site) -> None:
    """Markup in names and descriptions reaches nobody as markup, on pages and in the feed."""
    entry = next(one for one in site.world if one.slug == "high-tags")
    entry.title, entry.summary = "&lt;script&gt;alert(1)&lt;/script&gt;", "a &lt;b&gt; & c"
    site("migrate")
    site.refreshed().serve()
    for path in ("/?q=high-tags", "/wp-plugin/high-tags", "/feed.atom"):
        status, headers, body = site.get(path)
        assert status == 200
        assert b"&lt;script&gt;alert(1)" in body
        assert b"<script" not in body
        assert headers["content-security-policy"].startswith("default-src 'none'")


def test_the_feed_is_atom(served: Site) -> None:
    """Well-formed, the last change first, each entry with what RFC 4287 wants."""
    feed = ElementTree.fromstring(served.get("/feed.atom")[2])  # noqa: S314 -- our own
    entries = feed.findall(f"{ATOM}entry")
    assert len(entries) == 50
    dates = [entry.findtext(f"{ATOM}updated") or "" for entry in entries]
    assert dates == sorted(dates, reverse=True)
    assert feed.findtext(f"{ATOM}updated") == dates[0]
    assert len({entry.findtext(f"{ATOM}id") for entry in entries}) == 50
    assert all(entry.find(f"{ATOM}author") is not None for entry in entries)


def test_assets_are_kept_for_ever_and_never_others(served: Site) -> None:
    """What a page refers to is there, immutable; a name with another hash is not answered with today's file."""
    text = served.get("/")[2].decode()
    names = set(re.findall(r'"(/static/[^"]+)"', text))
    assert {name.rpartition(".")[2] for name in names} == {"css", "svg"}
    for name in names:
        status, headers, _ = served.get(name)
        assert status == 200
        assert headers["cache-control"] == "public, max-age=31536000, immutable"
        assert served.get(re.sub(r"\.[0-9a-f]{10}\.", ".0123456789.", name))[0] == 404


def test_assets_can_be_written_for_a_server_in_front(served: Site) -> None:
    """`assets DIRECTORY` writes them under the names that pages use."""
    folder = served.settings.data / "public"
    written = served("assets", str(folder)).split()
    assert sorted(path.name for path in folder.iterdir()) == written
    for name in written:
        assert served.get(f"/static/{name}")[2] == (folder / name).read_bytes()


def test_archives_are_served_under_their_sum(served: Site) -> None:
    """The address has the SHA-1, its answer may be kept for ever; nothing else of the directory can be reached."""
    dist = served.json(PATH)["packages"]["wp-plugin/high-tags"][0]["dist"]
    status, headers, body = served.get(dist["url"].removeprefix(served.url))
    assert status == 200
    assert hashlib.sha1(body, usedforsecurity=False).hexdigest() == dist["shasum"]
    assert headers["cache-control"].endswith("immutable")
    for bad in (f"1.0-{'0' * 40}.zip", "1.0-..%2f..%2fwppackages.db", f"{dist['shasum']}.zip"):
        assert served.get(f"/dist/wp-plugin/high-tags/{bad}")[0] == 404


def test_each_install_is_counted_once(site: Site) -> None:
    """A pair twice in a batch is one install, two batches are two; others' packages are not ours to count."""
    site.filled().serve()
    ours, theirs = ("wp-plugin/high-tags", "1.2.0.0"), ("monolog/monolog", "3.0.0.0")
    assert tell(site, ours, ours, theirs) == 1
    assert tell(site, ours, ("wp-plugin/twin-versions", "1.0.0.0")) == 2
    site.world.move("close", "odd-versions")
    site.refreshed("--whole")
    assert tell(site, ("wp-plugin/high-tags", "9" * 1000), ("wp-plugin/odd-versions", "1.5.0.0")) == 2
    assert site.installs() == 5
    page = site.get("/wp-plugin/high-tags")[2].decode()
    assert "<dt>Installed from here</dt><dd>3</dd>" in page


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'{"downloads": 7}', 400),
        (b'{"downloads": [{"name": 7, "version": "1"}]}', 400),
        (b'{"downloads": [{"name": "wp-plugin/high-tags", "version": ["1"]}]}', 400),
        (batch(("wp-plugin/\ud800", "1.0.0.0")), 400),
        (batch(("wp-plugin/high-tags", "\udfff")), 400),
        (batch(*[("wp-plugin/high-tags", str(number)) for number in range(installs.MOST + 1)]), 400),
        (b" " * (installs.LARGEST + 1), 413),
    ],
)
def test_a_batch_is_bounded(served: Site, body: bytes, status: int) -> None:
    """What is too much, or nothing that Composer sends, is refused whole."""
    before = served.installs()
    assert ask(served, "POST", "/downloads", body)[0] == status
    assert served.installs() == before


def test_a_batch_of_one_packages_versions_takes_no_longer_than_one(site: Site) -> None:
    """A package with a thousand tags, a thousand of its versions: its tags are judged once, or few could stop all."""
    site.filled()
    with contextlib.closing(catalogue.connect(site.settings.database)) as database:
        package = catalogue.find(database, "wp-plugin/high-tags")
        assert package is not None
        tags = {f"0.{number}": "https://example.org/x.zip" for number in range(1000)}
        info = {**package.info, "versions": {**package.info["versions"], **tags}}
        database.execute("UPDATE package SET info = ? WHERE id = ?", (json.dumps(info), package.id))
        began = time.monotonic()
        many = [("wp-plugin/high-tags", f"0.{number}.0.0") for number in range(1000)]
        assert installs.count(database, many) == 1000
        assert time.monotonic() - began < 1.0


def test_an_install_that_was_answered_is_on_the_disk(site: Site) -> None:
    """SIGKILL right after the answer: another server has counted it; and each commit waits for the disk (FULL is 2)."""
    site.filled()
    with contextlib.closing(catalogue.connect(site.settings.database)) as database:
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    server = site.serve()
    for _ in range(20):
        assert tell(site, ("wp-plugin/high-tags", "1.2.0.0")) == 1
    server.kill(signal.SIGKILL)
    server.status()
    site.serve()
    assert site.installs() == 20


def test_two_releases_count_into_one_database(site: Site) -> None:
    """As in the overlap of a deploy: both count at once, and no install is lost or counted twice."""
    site.filled().serve()
    other = Site(site.settings.data.parent, site.wordpress, free_port())
    other.serve()
    threads = [
        threading.Thread(target=lambda one=one: [tell(one, ("wp-plugin/high-tags", "1.2.0.0")) for _ in range(25)])
        for one in (site, other) * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.run.end()
    assert site.installs() == 150


def nothing(site: Site) -> None:
    """As before the first migration."""
    site.settings.data.mkdir()


def no_build(site: Site) -> None:
    """As after a restore of the database alone."""
    site("migrate")
    shutil.rmtree(site.settings.data / "builds")


def damaged_build(site: Site) -> None:
    """What a full disk may leave."""
    site("migrate")
    (site.settings.data / "builds" / "1" / "current").resolve().write_bytes(b"no database")


def old_schema(site: Site) -> None:
    """As a release before this one left it."""
    site("migrate")
    with contextlib.closing(sqlite3.connect(site.settings.database)) as database:
        database.executescript("DROP TABLE install_day; DROP TABLE archive; PRAGMA user_version = 1")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (nothing, "`python -m wppackages migrate` makes it"),
        (no_build, "There is no build yet"),
        (damaged_build, "cannot read the build"),
        (old_schema, "the database is at step 1 of 3"),
    ],
)
def test_it_is_not_ready_before_all_is_there(site: Site, broken: Callable[[Site], None], said: str) -> None:
    """Without database, schema or build it lives, says what is missing, and is ready once `migrate` mended that."""
    broken(site)
    site.serve()
    assert site.get("/health")[::2] == (200, b"ok\n")
    status, _, body = site.get("/ready")
    assert status == 503
    assert said in json.loads(body)["error"]
    site("migrate")
    assert site.json("/ready")["ready"] is True


def test_a_start_asks_nobody(site: Site) -> None:
    """From its start until it is ready, and with each page, the service makes no request to wordpress.org."""
    site.filled()
    asked = site.world.asked.total()
    site.serve("--check", "/ready")
    for path in ("/", "/wp-plugin/high-tags", PATH, "/feed.atom", "/api/stats"):
        assert site.get(path)[0] == 200
    assert site.world.asked.total() == asked


def test_a_failure_is_a_sentence(site: Site) -> None:
    """A verb without a database says how to make one, and its exit status is 1."""
    assert "`python -m wppackages migrate` makes it" in site("discover", status=1)
