"""The app under test as a program on aiohttp, with the few lines that its documentation takes to adopt a socket."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Any

from aiohttp import WSMsgType, web

LARGE = b"x" * (8 << 20)
REQUESTS = float(os.environ.get("GAPLESS_REQUESTS", "30"))  # it takes up to twice as long
BACKLOG = 3000  # the socket's: aiohttp calls listen(2) again

time.sleep(float(os.environ.get("CONFORM_BOOT", "0")))
if os.environ.get("CONFORM_BROKEN"):
    raise RuntimeError("the app cannot load, as it was told to")


def _seconds(request: web.Request) -> float:
    return float(request.query_string or 0)


async def name_the_release(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["gapless-release"] = os.environ.get("GAPLESS_RELEASE", "")


async def ok(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(_seconds(request))
    return web.Response(text="ok")


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def large(_: web.Request) -> web.Response:
    return web.Response(body=LARGE)


async def begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begun ")
    await asyncio.sleep(_seconds(request))
    await response.write(b"ok")
    return response


async def events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"data: tick\n\n")
        await asyncio.sleep(0.1)


async def after(request: web.Request) -> web.StreamResponse:
    response = web.Response(text="ok")
    await response.prepare(request)
    await response.write_eof()
    await asyncio.sleep(_seconds(request))
    os.write(1, b"after: done\n")
    return response


async def websocket(request: web.Request) -> web.StreamResponse:
    if request.path == "/ws-slow":
        await asyncio.sleep(1.5)
    both = web.WebSocketResponse()
    await both.prepare(request)
    request.app[OPEN].add(both)
    async for message in both:
        if message.type is WSMsgType.TEXT:
            await both.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await both.send_bytes(message.data)
    return both


async def close_websockets(app: web.Application) -> None:
    """As its documentation's chapter on graceful shutdown."""
    for one in set(app[OPEN]):
        await one.close(code=1001, message=b"going away")


async def say_ready(_: web.Application) -> None:
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", address)


OPEN: web.AppKey[Any] = web.AppKey("open", set)

if __name__ == "__main__":
    app = web.Application()
    app[OPEN] = set()
    app.on_response_prepare.append(name_the_release)
    app.on_startup.append(say_ready)
    app.on_shutdown.append(close_websockets)
    app.add_routes([web.get("/", ok), web.get("/slow", slow), web.post("/echo", echo), web.get("/large", large)])
    app.add_routes([web.get("/begin", begin), web.get("/events", events), web.get("/after", after)])
    app.add_routes([web.get("/ws", websocket), web.get("/ws-slow", websocket)])
    web.run_app(app, sock=socket.socket(fileno=3), backlog=BACKLOG, shutdown_timeout=REQUESTS)
