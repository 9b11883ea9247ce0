"""What a page refers to: the files of its own site that a browser fetches to show it."""

from __future__ import annotations

from collections.abc import Collection
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

SOURCES = {"audio", "embed", "img", "input", "script", "source", "track", "video"}  # elements whose src is fetched
RELATIONS = {"icon", "apple-touch-icon", "manifest", "mask-icon", "modulepreload", "preload", "prefetch", "stylesheet"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        fetched = tag in SOURCES or (tag == "link" and RELATIONS & {*(values.get("rel") or "").lower().split()})
        written = values.get("href" if tag == "link" else "src")
        if fetched and written:
            self.found.append(written.strip())


def references(page: bytes, url: str, hosts: Collection[str]) -> list[str]:
    """The request targets of the files that the page at `url` refers to, on any of `hosts`, each once."""
    parser = _Page()
    parser.feed(page.decode("utf-8", "replace"))
    targets = []
    for written in parser.found:
        try:
            parts = urlsplit(urljoin(url, written))
        except ValueError:  # no browser can fetch it either
            continue
        if parts.scheme in {"http", "https"} and parts.netloc in hosts:
            path = parts.path or "/"
            targets.append(f"{path}?{parts.query}" if parts.query else path)
    return list(dict.fromkeys(target for target in targets if target.isascii() and target.isprintable()))
