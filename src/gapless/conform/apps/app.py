"""The app under test: `app:app` is ASGI, `app:wsgi` is WSGI. docs/conform.md has the contract.

CONFORM_BOOT=N     loading takes N seconds
CONFORM_BROKEN=1   loading fails
"""

import asyncio
import os
import time

import pep3333

RELEASE = os.environ.get("GAPLESS_RELEASE", "")
LARGE = 8 << 20
HEADERS = [("gapless-release", RELEASE), ("content-type", "text/plain")]

time.sleep(float(os.environ.get("CONFORM_BOOT", 0)))
if os.environ.get("CONFORM_BROKEN"):
    raise RuntimeError("the app cannot load, as it was told to")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await _websocket(scope, receive, send)
    else:
        await _request(scope, receive, send)


async def _websocket(scope, receive, send):
    await receive()
    if scope["path"] == "/ws-slow":
        await asyncio.sleep(1.5)
    if scope["path"] == "/ws-never":
        await asyncio.sleep(60)
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        text = event.get("text")
        await send({"type": "websocket.send", **({"bytes": event["bytes"]} if text is None else {"text": text})})


async def _request(scope, receive, send):
    path, seconds = scope["path"], float(scope["query_string"] or 0)
    status, body = 200, b"ok"
    if path == "/slow":
        await asyncio.sleep(seconds)
    elif path == "/echo":
        body, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            body, more = body + event["body"], event["more_body"]
    elif path == "/large":
        body = b"x" * LARGE
    elif path not in ("/", "/begin", "/events", "/after"):
        status, body = 404, b"no such path"
    length = [] if path in ("/begin", "/events") else [("content-length", str(len(body)))]
    headers = [(name.encode(), value.encode()) for name, value in HEADERS + length]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if path == "/begin":
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        await asyncio.sleep(seconds)
    while path == "/events":
        await send({"type": "http.response.body", "body": b"data: tick\n\n", "more_body": True})
        await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": body})
    if path == "/after":
        await asyncio.sleep(seconds)
        os.write(1, b"after: done\n")


def wsgi(environ, start_response):
    special = pep3333.app(environ, start_response)
    if special is not None:
        return special
    path, seconds = environ["PATH_INFO"], float(environ["QUERY_STRING"] or 0)
    status, body = "200 OK", b"ok"
    if path == "/slow":
        time.sleep(seconds)
    elif path == "/echo":
        body = _body(environ)
    elif path == "/large":
        body = b"x" * LARGE
    elif path not in ("/", "/begin", "/events", "/after"):
        status, body = "404 Not Found", b"no such path"
    if path == "/begin":
        start_response(status, list(HEADERS))
        return _pieces(seconds, body)
    if path == "/events":
        start_response(status, list(HEADERS))
        return _events()
    start_response(status, [*HEADERS, ("content-length", str(len(body)))])
    return _After(body, seconds) if path == "/after" else [body]


def _body(environ):
    length = environ.get("CONTENT_LENGTH")
    if length:
        return environ["wsgi.input"].read(int(length))
    if environ.get("wsgi.input_terminated"):
        return environ["wsgi.input"].read()
    return b""


def _pieces(seconds, body):
    yield b"begun "
    time.sleep(seconds)
    yield body


def _events():
    while True:
        yield b"data: tick\n\n"
        time.sleep(0.1)


class _After:
    """Works when the response is out: in close(), as WSGI middleware does."""

    def __init__(self, body, seconds):
        self._body = [body]
        self._seconds = seconds

    def __iter__(self):
        return iter(self._body)

    def close(self):
        time.sleep(self._seconds)
        os.write(1, b"after: done\n")
