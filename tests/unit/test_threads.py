"""The threads of WSGI requests: work is done once, in the threads that there are, or its caller is told."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from gapless.serve.threads import Threads


class Room:
    """The system's, for threads that run requests; without it each start of one fails as Python has it fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_there = True
        begin = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            if not self.is_there and thread.name.startswith("request-"):
                raise RuntimeError("can't start new thread")
            begin(thread)

        monkeypatch.setattr(threading.Thread, "start", start)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    """Room that a test may take away."""
    return Room(monkeypatch)


def test_threads_that_could_not_be_started_are_started_later(room: Room) -> None:
    """Work that its caller was told about is not done; as soon as there is room, all threads are there for the next."""
    done: list[str] = []
    both = threading.Barrier(2, timeout=10)

    def meet(name: str) -> None:
        both.wait()
        done.append(name)

    async def work() -> None:
        threads = Threads(2)
        room.is_there = False
        for name in ("a", "b", "c"):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await threads.run(partial(done.append, name))
        room.is_there = True
        await asyncio.gather(threads.run(partial(meet, "d")), threads.run(partial(meet, "e")))

    asyncio.run(asyncio.wait_for(work(), 10))
    assert sorted(done) == ["d", "e"]


def test_the_threads_that_there_are_do_all_the_work(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """Where no further thread can be started, work waits for one of those, and the log says it once."""
    done: list[str] = []
    begun, end = threading.Event(), threading.Event()

    def last() -> None:
        begun.set()
        end.wait(10)
        done.append("a")

    async def work() -> None:
        threads = Threads(3)
        first = asyncio.create_task(threads.run(last))
        await asyncio.to_thread(begun.wait, 10)
        room.is_there = False
        second, third = (asyncio.create_task(threads.run(partial(done.append, name))) for name in ("b", "c"))
        await asyncio.sleep(0)  # both are in the queue now
        third.cancel()
        end.set()
        await asyncio.gather(first, second)
        await threads.run(partial(done.append, "d"))

    asyncio.run(asyncio.wait_for(work(), 10))
    assert done == ["a", "b", "d"]  # and not what was cancelled before its turn
    assert caplog.messages == ["can't start new thread: 1 of 3 threads do the work"]
