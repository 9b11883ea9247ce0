"""The server that the battery is run against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.served import GAPLESS, Served
from tests.support import start

BUDGETS = {"linger": 2.0, "requests": 1.0, "streams": 4.0}

Serve = Callable[..., Served]


@pytest.fixture
def serve(run: start, tmp_path: Path) -> Iterator[Serve]:
    """Start the server with an app; keywords are other budgets than BUDGETS, in seconds, and its environment."""
    served: list[Served] = []

    def begin(app: str = "asgi:app", env: dict[str, str] | None = None, **budgets: float) -> Served:
        folder = tmp_path / str(len(served))
        folder.mkdir()
        served.append(Served(run, folder, GAPLESS, app, {**BUDGETS, **budgets}, env or {}))
        return served[-1]

    yield begin
    for one in served:
        one.close()
