"""Apps that behave and misbehave, for `gapless serve`."""

import asyncio
import os
import signal
import time
import traceback


async def app(scope, receive, send):
    """A well-behaved app: /health, /slow (1 s), /slower (3 s),
    /stream?2 (begins, ends after 2 s, or 1), /echo, /hang-loop, a WebSocket echo."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("app: shutdown", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})
        return
    path, body = scope["path"], b"ok"
    if path in ("/slow", "/slower"):
        await asyncio.sleep(1 if path == "/slow" else 3)
    if path == "/hang-loop":
        time.sleep(60)
    if path == "/pid":
        body = str(os.getpid()).encode()
    if path == "/die":
        os.kill(os.getpid(), signal.SIGKILL)
    while path == "/echo":
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    status = int(path.removeprefix("/status/")) if path.startswith("/status/") else 200
    headers = [(b"location", b"/elsewhere")] if 300 <= status < 400 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if path == "/stream":
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        await asyncio.sleep(float(scope["query_string"] or 1))
    await send({"type": "http.response.body", "body": body})


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"wsgi says ", environ["PATH_INFO"].encode()]


def factory():
    return app


async def no_lifespan(scope, receive, send):
    assert scope["type"] == "http"
    await app(scope, receive, send)


async def fails_in_lifespan(scope, receive, send):
    await receive()
    raise RuntimeError("the database is not there")


async def says_failed(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no migrations\nrun them first"})


async def fails_at_length(scope, receive, send):
    await receive()
    try:
        raise LookupError("no such host\n(more about this error elsewhere)")
    except LookupError:
        await send({"type": "lifespan.startup.failed", "message": traceback.format_exc()})


class SlowToClose:
    """The body of a WSGI response whose end takes a while."""

    def __iter__(self):
        yield b"no table"

    def close(self):
        time.sleep(3)


def slow_to_close(environ, start_response):
    start_response("500 Oops", [("Content-Length", "8")])
    return SlowToClose()


async def hangs_in_lifespan(scope, receive, send):
    await receive()
    await asyncio.sleep(60)


async def blocks_in_lifespan(scope, receive, send):
    await receive()
    time.sleep(60)


async def other_release(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"gapless-release", b"R0")]})
        await send({"type": "http.response.body", "body": b"ok"})


async def healthy_third_time(scope, receive, send):
    if scope["type"] == "http":
        healthy_third_time.asked = getattr(healthy_third_time, "asked", 0) + 1
        status = 200 if healthy_third_time.asked >= 3 else 503
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": b"warming up"})


def two_too_many(one, two, three, four):
    pass


def exits():
    os._exit(3)


def broken_factory():
    raise LookupError("no settings")


def takes_anything(*args):
    return app(*args)


async def sees(scope, receive, send):
    """Says who asks, and how."""
    if scope["type"] == "http":
        probe = dict(scope["headers"]).get(b"x-probe", b"").decode()
        host, port = scope["server"]
        print(f"sees {scope['client'][0]} at {host}:{port} by {scope['scheme']} with {probe}", flush=True)
        await no_lifespan(scope, receive, send)


def sees_wsgi(environ, start_response):
    where = f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    probe = environ.get("HTTP_X_PROBE")
    print(f"sees {environ['REMOTE_ADDR']} at {where} by {environ['wsgi.url_scheme']} with {probe}", flush=True)
    return wsgi(environ, start_response)


async def https_only(scope, receive, send):
    if scope["type"] == "http":
        given = {name: value.decode() for name, value in scope["headers"]}
        forwarded, more = given.get(b"x-forwarded-proto", "nothing"), given.get(b"a", "nothing")
        print(f"asked by {scope['scheme']}, for {forwarded}, with {more}", flush=True)
        status = 200 if scope["scheme"] == "https" else 301
        headers = [(b"location", f"https://{given[b'host']}/".encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})
