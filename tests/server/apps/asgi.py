"""The app of the battery, in ASGI. What it does is said on standard output, a line each.

Any answer to GET / will do. In paths N is a number of seconds.
    /slow?N       answers after N
    /upload?N     after N reads; says "reading" when a part of the body came, answers how many bytes it was
    /after?N      answers, works for N, says "after: done"
    /begin?N      sends "begun ", the rest after N
    /events       sends for ever, and never looks whether anybody is there
    /flood        sends 16 MiB in small pieces; says "flood: all taken" when the server took them all
    /fat          sends 16 MiB in one piece
    /early?N      answers after N, and reads nothing of the body
    /waits        sends "begun ", waits until its client has gone, says "gone"
WebSockets:
    /ws           echoes; when it has ended, works for 2.5 s, says "ws: saved"
    /ws-never     never accepts
    /ws-flood     sends 16 MiB in small messages, says "flood: all taken"
"""

import asyncio
import os

FAT = 16 * 2**20
PIECE = 2**16


def say(text):
    print(text, flush=True)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await websocket(scope, receive, send)
    else:
        await request(scope, receive, send)


async def lifespan(receive, send):
    """SHUTDOWN says how it ends: at once, `lingers` after it has said that it is complete, or `fails`."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("shutdown")
    if os.environ.get("SHUTDOWN") == "fails":
        await send({"type": "lifespan.shutdown.failed", "message": "the ledger is not closed"})
        return
    await send({"type": "lifespan.shutdown.complete"})
    if os.environ.get("SHUTDOWN") == "lingers":
        await asyncio.sleep(60)


async def websocket(scope, receive, send):
    await receive()
    say(f"asked {scope['path']}")
    if scope["path"] == "/ws-never":
        await asyncio.sleep(60)
    await send({"type": "websocket.accept"})
    if scope["path"] == "/ws-flood":
        for _ in range(FAT // PIECE):
            await send({"type": "websocket.send", "bytes": b"x" * PIECE})
        say("flood: all taken")
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})
    await asyncio.sleep(2.5)
    say("ws: saved")


async def request(scope, receive, send):
    path, seconds = scope["path"], float(scope["query_string"] or 0)
    say(f"asked {path}")
    body = b"ok"
    if path in ("/slow", "/upload", "/early"):
        await asyncio.sleep(seconds)
    if path == "/upload":
        body = str(await length(receive)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while path == "/events":
        await part(send, b"data: tick\n\n")
        await asyncio.sleep(0.05)
    if path == "/begin":
        await part(send, b"begun ")
        await asyncio.sleep(seconds)
    if path == "/waits":
        await receive()
        await part(send, b"begun ")
        await receive()
        say("gone")
    if path == "/flood":
        for _ in range(FAT // PIECE):
            await part(send, b"x" * PIECE)
        say("flood: all taken")
    if path == "/fat":
        body = b"x" * FAT
    await send({"type": "http.response.body", "body": body})
    if path == "/after":
        await asyncio.sleep(seconds)
        say("after: done")


async def part(send, body):
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def length(receive):
    total, more = 0, True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            say("gone")
            break
        total, more = total + len(event["body"]), event["more_body"]
        if total:
            say("reading")
    return total
