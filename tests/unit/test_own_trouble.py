"""What goes wrong with one connection is that connection's alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gapless.serve.connections import Http
from gapless.serve.door import Door
from gapless.serve.drain import Drain
from gapless.serve.settings import Settings


class Broken:
    """A protocol and its transport; what it is busy with cannot be told."""

    turned_away = False
    cycle = None

    def __init__(self, connections: set[Any]) -> None:
        self.transport = self
        self._connections = connections
        connections.add(self)

    @property
    def pipeline(self) -> Any:
        raise RuntimeError("cannot say what it is busy with")

    in_body = pipeline

    def is_closing(self) -> bool:
        return False

    def get_protocol(self) -> Broken:
        return self

    def abort(self) -> None:
        self._connections.discard(self)


async def no_app(_scope: Any, _receive: Any, _send: Any) -> None:
    """Nobody asks it."""


@pytest.mark.parametrize("looks", ["a drain", "a pause", "the door"])
def test_one_connection_ends_no_other(looks: str, caplog: pytest.LogCaptureFixture) -> None:
    """Invariant 6: the mistake is in the log, its connection is closed, and the others are looked after as before."""

    async def look() -> set[Any]:
        http = Http(no_app, {}, "", 5.0)
        Broken(http.connections)
        if looks == "the door":
            Door(Settings(app="none:none")).look(http.connections, [], [])
        elif looks == "a pause":
            Drain(http, Settings(app="none:none")).hold(True)
        else:
            await Drain(http, Settings(app="none:none")).run()
        return http.connections

    assert asyncio.run(look()) == set()
    assert "cannot say what it is busy with" in caplog.text
