"""Apps that leave behind what does not end, for `gapless serve`."""

import asyncio
import threading
import time

kept = []


async def deaf():
    """A task that hears of no cancellation."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass


async def app(scope, receive, send):
    """/task, /pool and /thread each leave one of these behind, and answer."""
    assert scope["type"] == "http"
    if scope["path"] == "/task":
        kept.append(asyncio.create_task(deaf()))
    if scope["path"] == "/pool":
        kept.append(asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600))
    if scope["path"] == "/thread":
        threading.Thread(target=time.sleep, args=(3600,)).start()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def fails(scope, receive, send):
    """Waits for a database in a thread, and then misses something else."""
    await receive()
    kept.append(asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600))
    raise LookupError("there are no settings")
