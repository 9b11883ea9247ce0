"""Answer what Composer asks most: a document below /p2/, or that it is still the one it has."""

from __future__ import annotations

import gzip
import re
from email.utils import formatdate
from functools import lru_cache

from starlette.types import Receive, Scope, Send

from wppackages.builds import Builds

GZIP = re.compile(rb"(?:^|[\s,])gzip(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")
JSON = (b"content-type", b"application/json")
# A minute is what a deploy of the site or a build may be late for clients that ask a cache.
KEPT = (b"cache-control", b"public, max-age=60")
VARY = (b"vary", b"accept-encoding")
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
Headers = list[tuple[bytes, bytes]]


@lru_cache(4096)
def http_date(stamp: int) -> bytes:
    """Write seconds since 1970 as HTTP does."""
    return formatdate(stamp, usegmt=True).encode()


def document(builds: Builds, path: str, headers: Headers) -> Answer:
    """The answer to a request for the document `path` of the current build: 200, 304 or 404; 503 before the first."""
    build = builds.current()
    if build is None:
        return 503, [JSON, (b"retry-after", b"10")], b'{"error":"there is no build yet"}'
    stamp, body = build.document(path) or (0, None)
    if body is None:
        return 404, [JSON, KEPT], b'{"error":"there is no such package"}'
    sent = dict(headers)
    fixed = [KEPT, VARY, (b"last-modified", http_date(stamp))]
    # Only the very stamp is current: an older build, after a rollback of the service, may have an older one.
    if sent.get(b"if-modified-since") == http_date(stamp):
        return 304, fixed, b""
    if GZIP.search(sent.get(b"accept-encoding", b"")):
        return 200, [JSON, (b"content-encoding", b"gzip"), *fixed], body
    return 200, [JSON, *fixed], gzip.decompress(body)


async def answer(builds: Builds, path: str, scope: Scope, _receive: Receive, send: Send) -> None:
    """Send it. This is plain ASGI: routing and response objects would take more time than the answer."""
    status, headers, body = document(builds, path, scope["headers"])
    if scope["method"] not in ("GET", "HEAD"):
        status, headers, body = 405, [(b"allow", b"GET, HEAD")], b""
    length = [] if status == 304 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers + length})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
