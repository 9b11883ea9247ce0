"""A small app with a memory: every POST's id goes to SQLite, and is acknowledged once it is on disk.

GET / says hello, GET /slow takes 50 ms, POST / takes {"id": …}, /ws echoes, /health looks at the database.
"""

import asyncio
import json
import os
import sqlite3
import time

BOOT = float(os.environ.get("DEMO_BOOT", "1"))
DATABASE = os.path.join(os.environ.get("GAPLESS_SHARED", "."), "ledger.db")  # noqa: PTH118 -- the demo stays tiny

time.sleep(BOOT)  # stands for what real apps do: imports, connection pools, caches
database = sqlite3.connect(DATABASE, timeout=10, isolation_level=None, check_same_thread=False)
database.execute("PRAGMA journal_mode = WAL")  # two releases write during an overlap
database.execute("PRAGMA synchronous = NORMAL")
database.execute("CREATE TABLE IF NOT EXISTS ledger (id TEXT, at REAL)")


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif scope["type"] == "http":
        status, body = await answer(scope, receive)
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    else:
        raise NotImplementedError(scope["type"])


async def answer(scope, receive):
    if scope["method"] == "POST":
        body, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return 400, b"you went away"
            body, more = body + event.get("body", b""), event.get("more_body", False)
        database.execute("INSERT INTO ledger VALUES (?, ?)", (json.loads(body)["id"], time.time()))
        return 200, b"noted"
    if scope["path"] == "/health":
        database.execute("SELECT 1 FROM ledger LIMIT 1")
    if scope["path"] == "/slow":
        await asyncio.sleep(0.05)
    return 200, b"hello"


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event.get("text") or event["bytes"].decode()})
