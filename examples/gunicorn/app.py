import os
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    body = b"ok\n" if environ["PATH_INFO"] == "/health" else b"hello\n"
    release = os.environ.get("GAPLESS_RELEASE", "")
    start_response("200 OK", [("Content-Length", str(len(body))), ("gapless-release", release)])
    return [body]
