"""Throughput of `gapless serve` over that of stock uvicorn: the same app, loop and parser, paired in one run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from gapless.demo.ways import Restart

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""
PYTHON = [sys.executable, "-m"]
SECONDS = 2  # a measurement


def wrk() -> str | None:
    """The load generator's path; installed from Debian when we are root."""
    if shutil.which("wrk") is None and os.geteuid() == 0:
        for argv in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "wrk"]):
            subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return shutil.which("wrk")


def ratios(folder: Path, rounds: int) -> dict[str, list[float]]:
    """For keep-alive and for new connections: `rounds` ratios gapless / uvicorn, the order alternating.

    Empty when there is no wrk and it cannot be installed.
    """
    load = wrk()
    if load is None:
        return {}
    gapless = Restart(
        "gapless",
        folder / "gapless",
        0,
        lambda port, _: [*PYTHON, "gapless", "serve", "hello:app", "--bind", f"127.0.0.1:{port}", "--linger", "1s"],
    )
    uvicorn = Restart("uvicorn", folder / "uvicorn", 0, lambda port, _: [
        *PYTHON, "uvicorn", "hello:app", "--no-access-log", "--port", str(port)])  # fmt: skip
    try:
        for way in (gapless, uvicorn):
            (way.folder / "hello.py").write_text(APP)
            way.start()
        return {
            kind: [_ratio(load, gapless.url, uvicorn.url, flags, number) for number in range(rounds + 1)][1:]
            for kind, flags in (("keep-alive", []), ("new connections", ["-H", "Connection: close"]))
        }
    finally:
        gapless.stop()
        uvicorn.stop()


def _ratio(load: str, ours: str, theirs: str, flags: list[str], number: int) -> float:
    first, second = (ours, theirs) if number % 2 else (theirs, ours)
    rate = {url: _requests_a_second(load, url, flags) for url in (first, second)}
    return rate[ours] / rate[theirs]


def _requests_a_second(load: str, url: str, flags: list[str]) -> float:
    argv = [load, "-t1", "-c16", f"-d{SECONDS}", *flags, url]
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    match = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if not match:
        raise RuntimeError(f"wrk said nothing that we understand: {output}")
    return float(match[1])
