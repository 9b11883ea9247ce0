"""An app that says what its start compiled of its release; what it imports is the module `whole`."""

import json
import os
import sys
import time
from importlib.util import MAGIC_NUMBER

HERE = f"{os.getcwd()}/"
compiled = []


def hear(event, arguments):
    if event == "compile" and str(arguments[1]).startswith(HERE):
        compiled.append(arguments[1])


def stale(module):
    """Whether Python would not take its .pyc: this one's, and of the source as it is."""
    try:
        with open(module.__cached__, "rb") as file:
            header = file.read(16)
    except FileNotFoundError:
        return True
    source = os.stat(module.__file__)
    numbers = (0, int(source.st_mtime) & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF)
    return header != MAGIC_NUMBER + b"".join(one.to_bytes(4, "little") for one in numbers)


sys.addaudithook(hear)
# A candidate boots behind all others (nice(2)): on a busy machine its first start takes longer, and no more of the CPU.
began, busy = time.perf_counter(), time.process_time()
import whole  # noqa: E402, F401

SECONDS = {"wall": time.perf_counter() - began, "CPU": time.process_time() - busy}
ours = [one for one in list(sys.modules.values()) if str(getattr(one, "__file__", "")).startswith(HERE)]
ours = [one for one in ours if one.__file__.endswith(".py")]
SAID = {
    "release": os.environ["GAPLESS_RELEASE"],
    "pid": os.getpid(),
    "seconds": SECONDS,
    "modules": len(ours),
    "compiled": compiled,
    "stale": [one.__file__ for one in ours if stale(one)],
}


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(SAID).encode()})
