"""The end of a pause, by the supervisor's own clock: whoever paused an instance may be dead, or late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gapless.switch import orders
from gapless.switch.embedded.instance import Supervised
from gapless.switch.embedded.states import InstanceState

AGAIN = 0.5  # seconds after which an instance that did not obey is told once more


class Alarm:
    """One timer at most; `say` gets what becomes of it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._waits: asyncio.Task[None] | None = None

    def arm(self, running: Supervised, seconds: float) -> None:
        """Have the instance accept again in so many `seconds`; the timer before is disarmed."""
        self.disarm()
        self._waits = asyncio.create_task(self._ring(running, seconds))

    def disarm(self) -> None:
        """Forget the timer."""
        if self._waits:
            self._waits.cancel()
            self._waits = None

    async def _ring(self, running: Supervised, seconds: float) -> None:
        await asyncio.sleep(seconds)
        while running.state is InstanceState.READY:  # one that drains was released by that
            if await asyncio.to_thread(orders.resume, running.record.private):
                self._say(f"{running.record.id} (pid {running.record.pid}) was resumed: the time of its pause is over")
                return
            await asyncio.sleep(AGAIN)
