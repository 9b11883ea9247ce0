"""What visitors and Composer reach: `gapless serve wppackages.web:app`."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from anyio import to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from wppackages import catalogue, composer, installs, p2, settings, static
from wppackages.build import LIST, PAGE, Build
from wppackages.builds import Builds
from wppackages.settings import Failure

SETTINGS = settings.from_environment()
BUILDS = Builds(SETTINGS)
PAGES = Environment(loader=PackageLoader("wppackages"), autoescape=True, undefined=StrictUndefined, auto_reload=False)
PAGES.globals |= {"static": static.url, "site": SETTINGS.url}
# Nothing from anywhere else is loaded, and there are no scripts.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HTML = {"content-security-policy": POLICY, "cache-control": "public, max-age=60"}
IMMUTABLE = {"cache-control": "public, max-age=31536000, immutable"}
THREADS = 8  # each has a database and a build open
DEEPEST = 50  # pages of a search
_mine = threading.local()


def database() -> sqlite3.Connection:
    """The database, open in this thread."""
    if not hasattr(_mine, "database"):
        _mine.database = catalogue.connect(SETTINGS.database)
    found: sqlite3.Connection = _mine.database
    return found


def build() -> Build:
    """The current build, open in this thread."""
    found = BUILDS.current()
    if found is None:
        raise HTTPException(503, "There is no build yet.", {"retry-after": "10"})
    return found


def page(name: str, status: int = 200, media: str = "text/html", **values: Any) -> Response:
    """Render a template."""
    return Response(PAGES.get_template(name).render(values), status, HTML, media)


def asked(request: Request) -> tuple[str, str, int]:
    """What is searched: words, type ("" = both), page; whatever is sent, these are fit to ask."""
    query, type_, text = (request.query_params.get(key, "") for key in ("q", "type", "page"))
    type_ = type_.removeprefix("wordpress-")  # as Composer calls it
    number = max(1, min(int(text), DEEPEST)) if re.fullmatch(r"[0-9]{1,4}", text) else 1
    return query[:200], type_ if type_ in catalogue.TYPES else "", number


def index(request: Request) -> Response:
    """The page of a search, which without words shows what is installed most."""
    query, type_, number = asked(request)
    found = build().search(query, type_, number)
    more = len(found) > PAGE and number < DEEPEST
    asked_for = {"query": query, "type": type_, "number": number}
    return page("search.html", meta=build().meta, asked=asked_for, packages=found[:PAGE], more=more)


def detail(request: Request) -> Response:
    """The page of a package."""
    name = "{vendor}/{slug}".format(**request.path_params)
    found = build().package(name)
    if found is None:
        raise HTTPException(404, f"There is no package {name}.")
    counts = installs.of(database(), name)
    return page("package.html", package=found, versions=build().versions(name), counts=counts)


def search(request: Request) -> Response:
    """What `composer search` asks."""
    query, type_, number = asked(request)
    found = build().search(query, type_, number)[:PAGE]
    results = [{"name": one.name, "description": one.summary, "url": f"{SETTINGS.url}/{one.name}"} for one in found]
    return JSONResponse({"results": results}, headers={"cache-control": "public, max-age=60"})


def names(request: Request) -> Response:
    """All names as they are in the build, or those that a pattern fits."""
    if pattern := request.query_params.get("filter", ""):
        return JSONResponse({"packageNames": build().names(pattern)})
    status, headers, body = p2.document(BUILDS, LIST, request.headers.raw)
    return Response(body, status, {key.decode(): value.decode() for key, value in headers})


def feed(_request: Request) -> Response:
    """The packages that changed last, as Atom (RFC 4287)."""
    newest = build().newest()
    return page("feed.xml", media="application/atom+xml", packages=newest, meta=build().meta)


def stats(_request: Request) -> Response:
    """Installs and packages, in numbers."""
    return JSONResponse({"installs": installs.stats(database()), "build": build().meta})


async def downloads(request: Request) -> Response:
    """Count a batch of installs, and only then say so."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > installs.LARGEST:
            return JSONResponse({"error": f"more than {installs.LARGEST} bytes"}, 413)
    try:
        batch = installs.parse(body)
    except installs.RefusedError as error:
        return JSONResponse({"error": str(error)}, 400)
    counted = await to_thread.run_sync(lambda: installs.count(database(), batch))
    return JSONResponse({"counted": counted})


def archive(request: Request) -> Response:
    """An archive that is kept here: its name has its SHA-1, so it never changes."""
    path = SETTINGS.archives / f"{request.path_params['file'][-44:-4]}.zip"
    if not re.fullmatch(r"[^/]+-[0-9a-f]{40}\.zip", request.path_params["file"]) or not path.exists():
        raise HTTPException(404, "There is no such archive.")
    return FileResponse(path, headers=IMMUTABLE, media_type="application/zip")


async def asset(request: Request) -> Response:
    """A file that pages refer to; never another version of it than the one that was asked for."""
    name = request.path_params["file"]
    if name not in static.FILES:
        raise HTTPException(404, "There is no such file.")
    return Response(static.FILES[name], headers=IMMUTABLE, media_type=static.TYPES[Path(name).suffix])


async def root(_request: Request) -> Response:
    """Where Composer begins."""
    return JSONResponse(composer.ROOT, headers={"cache-control": "public, max-age=300"})


async def health(_request: Request) -> Response:
    """Whether the process answers; asks nobody."""
    return PlainTextResponse("ok\n")


def ready(_request: Request) -> Response:
    """Whether everything that visitors need is there: the database, its schema, the right to write it, a build."""
    try:
        seen = catalogue.ready(database())
        current = build()
        if current.document(LIST) is None:
            return JSONResponse({"ready": False, "error": f"the build {current.name} has no list"}, 503)
    except (Failure, HTTPException, sqlite3.Error, OSError) as error:
        return JSONResponse({"ready": False, "error": str(error)}, 503)
    return JSONResponse({"ready": True, "schema": seen, "build": current.name})


async def broken(request: Request, error: Exception) -> Response:
    """A page that says what is wrong, to people."""
    status, said, headers = 500, "Something broke here.", None
    if isinstance(error, HTTPException):
        status, said, headers = error.status_code, error.detail, error.headers
    if request.url.path.endswith((".json", "/downloads")):
        return JSONResponse({"error": said}, status, headers)
    answer = page("error.html", status, said=said)
    answer.headers.update(headers or {})
    return answer


@contextlib.asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Bound the threads, and with them what is open."""
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


ROUTES = [
    Route("/", index),
    Route("/packages.json", root),
    Route("/packages/list.json", names),
    Route("/search.json", search),
    Route("/downloads", downloads, methods=["POST"]),
    Route("/dist/{vendor}/{slug}/{file}", archive),
    Route("/static/{file}", asset),
    Route("/feed.atom", feed),
    Route("/api/stats", stats),
    Route("/health", health),
    Route("/ready", ready),
    Route("/{vendor}/{slug}", detail),
]
pages = Starlette(routes=ROUTES, exception_handlers={HTTPException: broken, Exception: broken}, lifespan=lifespan)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Metadata by the short way, everything else by Starlette's."""
    path = scope.get("path", "")
    if scope["type"] == "http" and path.startswith("/p2/") and path.endswith(".json"):
        await p2.answer(BUILDS, path[4:-5], scope, receive, send)
    else:
        await pages(scope, receive, send)
