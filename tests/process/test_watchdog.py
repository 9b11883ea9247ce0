"""When the supervisor's watchdog begins to watch."""

from __future__ import annotations

import pytest

from gapless.switch.embedded import spawn
from gapless.switch.embedded.home import EmbeddedHome
from tests.process.test_instance import home, launched, within  # noqa: F401 -- home is a fixture


def test_a_boot_that_blocks_its_loop_is_left_to_its_own_time_out(
    home: EmbeddedHome,  # noqa: F811 -- the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Invariant 3: pings before READY=1 start no watchdog, or a slow start-up would be killed within its time."""
    monkeypatch.setattr(spawn, "WATCHDOG", 0.1)

    async def test() -> None:
        async with launched(home, "say('WATCHDOG=1'); time.sleep(0.6); say('READY=1')") as (running, _seen):
            await running.gone.wait()
            assert running.status == "exited with status 0"

    within(10, test)
