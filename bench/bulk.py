"""Requests in bulk by Debian's wrk, from inside a host or on this machine: how many, and how many of them failed."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.throughput import wrk
from gapless.errors import GaplessError

FOREVER = 24 * 3600  # seconds; it is told when to end
TIMEOUT = 20  # seconds
# How wrk waits between an answer and the next request on the same connection, and what it says at its end.
SCRIPT = """
local most = 2 * tonumber(os.getenv("PAUSE"))
if most > 0 then
  function delay() return math.random(0, most) end
end
function done(summary)
  local e = summary.errors
  print(string.format('\\n{"requests": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}',
    summary.requests, e.connect, e.read, e.write, e.timeout, e.status))
end
"""
KINDS = {"keep-alive": [], "new connections": ["-H", "Connection: close"]}


@dataclass
class Bulk:
    """What came of the requests; complete once the block is left."""

    requests: int = 0
    failures: dict[str, int] = field(default_factory=dict)  # by how they failed, as wrk tells them apart

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


@contextlib.contextmanager
def bulk(folder: Path, url: str, kind: str, *, connections: int, pause: int) -> Iterator[Bulk]:
    """Send GETs while the block runs, each connection one after `pause` milliseconds on average.

    Without a pause the next request leaves as soon as the answer is there: no connection is ever idle. Raises
    GaplessError where there is no wrk, or it ends by itself.
    """
    program = wrk()
    if program is None:
        raise GaplessError("load", url, "there is no wrk, and only root can install it", "apt install wrk")
    script = folder / "bulk.lua"
    script.write_text(SCRIPT)
    argv = [
        "setpriv",
        "--pdeathsig=KILL",
        program,
        "-t1",
        f"-c{connections}",
        f"-d{FOREVER}s",
        f"--timeout={TIMEOUT}s",
        *KINDS[kind],
    ]
    seen = Bulk()
    running = subprocess.Popen(
        [*argv, f"--script={script}", url],
        env={"PAUSE": f"{pause}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield seen
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=2 * TIMEOUT)
    finally:
        running.kill()
        running.wait()
    last = said.strip().splitlines()[-1:]
    if running.returncode or not last or not last[0].startswith("{"):
        raise GaplessError("load", url, f"wrk ended with status {running.returncode}: {said}")
    seen.failures = json.loads(last[0])
    seen.requests = seen.failures.pop("requests")
