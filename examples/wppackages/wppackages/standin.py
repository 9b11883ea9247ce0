"""Stand in for wordpress.org: its API, with its faults, and its archives; for tests and to try the service out.

    python -m wppackages.standin --packages 300

`POST /_world?release=SLUG` has a plugin release another version, `?close=SLUG` closes it, `?open=SLUG` opens it again.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

FIRST = ("Simple", "Smart", "Easy", "Ultimate", "Instant", "Better", "Lazy", "Secure", "Tiny", "Advanced")
SECOND = ("Contact", "Gallery", "Cache", "Checkout", "Backup", "Redirect", "Social", "Search", "Login", "Image")
THIRD = ("Forms", "Manager", "Blocks", "Toolkit", "Widgets", "Optimizer", "Buttons", "Slider", "Editor", "Reports")
MINUTE = timedelta(minutes=1)


@dataclass
class Entry:
    """A plugin or theme as its author keeps it."""

    type: str
    slug: str
    title: str
    version: str
    tags: list[str]
    installs: int
    changed: datetime
    summary: str = ""
    closed: bool = False
    php: str | bool = "7.4"  # False, where its author says nothing: PHP's way
    answers: list[int] = field(default_factory=list)  # what it is answered with first, instead


def made_up(number: int) -> Entry:
    """Make the entry of a number: always the same, and as different as real ones are."""
    dice = random.Random(number)  # noqa: S311 -- names, not secrets
    type_ = "theme" if number % 5 == 4 else "plugin"
    words = [dice.choice(part) for part in (FIRST, SECOND, THIRD)]
    tags = [f"{major}.{minor}" for major in range(1, dice.randint(2, 4)) for minor in range(dice.randint(1, 6))]
    installs = int(float(f"{10 ** dice.uniform(1, 6.9):.0e}"))  # as rough as the real ones
    changed = datetime(2026, 11, 1, tzinfo=UTC) - number * 7 * MINUTE
    summary = f"{words[1]} {words[2].lower()} for every site: {words[0].lower()}, quick and without a setting."
    slug = f"{'-'.join(words).lower()}-{number}"
    return Entry(type_, slug, " ".join(words), tags[-1], tags, installs, changed, summary)


def faulty() -> list[Entry]:
    """The entries that are as wrong as real ones can be."""

    def one(slug: str, version: str, tags: list[str], **more: Any) -> Entry:
        changed = datetime(2026, 11, 20, 21, 8, tzinfo=UTC)
        title = f"{slug.replace('-', ' ').title()} &amp; more"
        return Entry("plugin", slug, title, version, tags, 5000, changed, "<b>Bold</b> claims.", **more)

    return [
        one("high-tags", "1.2", ["1.0", "1.1", "1.2", "1.3-beta1", "9.9", "2024.01.01"]),
        one("twin-versions", "1.0.0", ["1.0", "v1.0", "1.0.0", "0.9", "0.9.0.0"]),
        one("trunk-only", "3.1", []),
        one(
            "odd-versions", "1.5", ["latest", "1.5", "1.4.final", "1.2.3.4.5", "1.4-RC1", "../1.3", "1.0-dev", "1.1b2"]
        ),
        one("closed-door", "1.0", ["1.0"], closed=True),
        one("busy-today", "2.0", ["1.9", "2.0"], answers=[429, 429]),
        one("broken-often", "2.0", ["2.0"], answers=[503, 500]),
        one("says-no-php", "1.0", ["1.0"], php=False),
    ]


class World:
    """Everything that the stand-in knows, at `base`, which is where clients find it."""

    def __init__(self, packages: int, faults: bool = True) -> None:
        self.base = ""
        self.asked = Counter[str]()  # paths and actions
        self._lock = threading.Lock()
        everything = [*map(made_up, range(packages)), *(faulty() if faults else [])]
        self._entries = {(one.type, one.slug): one for one in everything}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def move(self, what: str, slug: str) -> None:
        """Have something happen to a plugin: "release", "close" or "open"."""
        entry = self._entries["plugin", slug]
        with self._lock:
            entry.changed = max(one.changed for one in self) + MINUTE
            entry.closed = what == "close" or (entry.closed and what != "open")
            if what == "release":
                major, _, minor = entry.version.rpartition(".")
                entry.version = f"{major}.{int(minor) + 1}"
                entry.tags.append(entry.version)

    def listing(self, type_: str, page: int, size: int) -> dict[str, Any]:
        """Answer query_plugins and query_themes."""
        found = [one for one in self if one.type == type_ and not one.closed]
        found.sort(key=lambda one: one.changed, reverse=True)
        shown = [self.information(one) for one in found[(page - 1) * size : page * size]]
        info = {"page": page, "pages": -(-len(found) // size), "results": len(found)}
        return {"info": info, f"{type_}s": shown}

    def information(self, one: Entry) -> dict[str, Any]:
        """Answer plugin_information and theme_information."""
        where = f"{self.base}/{one.type}/{one.slug}"
        form = "%Y-%m-%d %-I:%M%p GMT" if one.type == "plugin" else "%Y-%m-%d"
        answer = {"name": one.title, "slug": one.slug, "version": one.version, "requires": "6.0", "tested": "6.9"}
        versions = {tag: f"{where}.{tag}.zip" for tag in one.tags} | (
            {"trunk": f"{where}.zip"} if one.type == "plugin" else {}
        )
        return answer | {
            "requires_php": one.php,
            "last_updated": one.changed.strftime(form).replace("AM", "am").replace("PM", "pm"),
            "active_installs": one.installs,
            "author": '<a href="https://example.com/">Ann O&#8217;Nym</a>'
            if one.type == "plugin"
            else {"display_name": "Ann"},
            "short_description" if one.type == "plugin" else "description": one.summary,
            "tags": {word.lower(): word.lower() for word in one.title.split()} if one.installs % 3 else [],
            "versions": versions if one.tags else [],
            "download_link": f"{where}.{one.version}.zip" if one.tags else f"{where}.zip",
        }

    def answer(self, target: str) -> tuple[int, str, bytes]:
        """Answer a GET: status, media type, body."""
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.asked[query.get("action", url.path)] += 1
        if match := re.fullmatch(r"/(plugin|theme)s/info/1\.2/", url.path):
            type_, action = match[1], query.get("action", "")
            if action == f"query_{type_}s":
                size = min(int(query.get("request[per_page]", "24")), 250)
                return 200, "application/json", _json(self.listing(type_, int(query["request[page]"]), size))
            return self._information(type_, query.get("request[slug]", ""))
        if match := re.fullmatch(r"/(plugin|theme)/([a-z0-9-]+?)(?:\.([0-9].*))?\.zip", url.path):
            entry = self._entries.get((match[1], match[2]))
            if entry and (match[3] or entry.version) in [*entry.tags, entry.version]:
                return 200, "application/zip", archive(entry, match[3] or "trunk")
        return 404, "text/html", b"not found"

    def _information(self, type_: str, slug: str) -> tuple[int, str, bytes]:
        entry = self._entries.get((type_, slug))
        if entry is None:
            return 404, "application/json", _json({"error": f"{type_.title()} not found."})
        with self._lock:
            if entry.answers:
                return entry.answers.pop(0), "application/json", _json({"error": "Not now."})
        if entry.closed:
            return 404, "application/json", _json({"error": "closed", "slug": slug, "closed": True})
        return 200, "application/json", _json(self.information(entry))


def archive(one: Entry, version: str) -> bytes:
    """Make the archive of a version: always the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        head = f"<?php\n/*\nPlugin Name: {one.title}\nVersion: {version}\n*/\n"
        file.writestr(zipfile.ZipInfo(f"{one.slug}/{one.slug}.php", (2026, 11, 1, 0, 0, 0)), head)
    return packed.getvalue()


def _json(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode()


class Server(ThreadingHTTPServer):
    """The server of `world`, which may be exchanged; it serves once it is told to."""

    def __init__(self, world: World, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), Handler)
        self.show(world)

    def show(self, world: World) -> None:
        """Serve `world` from now on."""
        world.base = f"http://{self.server_address[0]!s}:{self.server_port}"
        self.world = world


class Handler(BaseHTTPRequestHandler):
    """A request."""

    server: Server

    def do_GET(self) -> None:
        """The API and the archives."""
        self._send(*self.server.world.answer(self.path))

    def do_POST(self) -> None:
        """What happens to plugins."""
        for what, slugs in parse_qs(urlsplit(self.path).query).items():
            for slug in slugs:
                self.server.world.move(what, slug)
        self._send(200, "application/json", b"{}")

    def _send(self, status: int, media: str, body: bytes) -> None:
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: whoever runs it looks at other output."""


def main() -> None:
    """Serve a world until somebody ends it."""
    options = argparse.ArgumentParser(prog="python -m wppackages.standin", description=__doc__)
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8100)
    options.add_argument("--packages", type=int, default=300)
    options.add_argument("--calm", action="store_true", help="without faults")
    asked = options.parse_args()
    made = Server(World(asked.packages, not asked.calm), asked.host, asked.port)
    print(f"wordpress.org stands in at http://{asked.host}:{made.server_port}", flush=True)
    made.serve_forever()


if __name__ == "__main__":
    main()
