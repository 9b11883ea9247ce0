"""The servers that the battery is run against; spans are in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.served import GAPLESS, Served, Server
from tests.support import start

SETTINGS = {"linger": 2.0, "requests": 1.0, "streams": 4.0, "threads": 10.0}
SETTINGS |= {"head": 30.0, "body": 300.0}  # what visitors may take for a head, and without a byte of a body

Serve = Callable[..., Served]


@pytest.fixture
def serve(run: start, tmp_path: Path) -> Iterator[Serve]:
    """Start a server with an app; keywords are other settings than SETTINGS."""
    served: list[Served] = []

    def begin(
        app: str = "asgi:app", server: Server = GAPLESS, env: dict[str, str] | None = None, **settings: float
    ) -> Served:
        folder = tmp_path / str(len(served))
        folder.mkdir()
        served.append(Served(run, folder, server, app, {**SETTINGS, **settings}, env or {}))
        return served[-1]

    yield begin
    for one in served:
        one.close()
