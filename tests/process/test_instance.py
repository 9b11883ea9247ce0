"""One instance under the supervisor's eyes: its deadlines, its watchdog and its table of moves."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from gapless.errors import GaplessError
from gapless.linux import procfs
from gapless.switch.embedded import instance as running_module
from gapless.switch.embedded import records, spawn
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.instance import Supervised
from gapless.switch.embedded.records import Record
from gapless.switch.embedded.states import MOVES, InstanceState
from tests.support import wait_until

PRELUDE = """
import os, signal, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
def say(text): s.send(text.encode())
"""


@pytest.fixture
def home(tmp_path: Path) -> EmbeddedHome:
    place = EmbeddedHome(tmp_path)
    place.make()
    return place


@asynccontextmanager
async def launched(
    home: EmbeddedHome, code: str, drain: float = 30.0
) -> AsyncIterator[tuple[Supervised, list[InstanceState]]]:
    """An instance that runs `code`, and the states that it was seen in."""
    private = home.private("r1.1")
    record = Record(id="r1.1", release="r1", since=time.time(), drain=drain, private=private, sockets={})
    env = {**os.environ, "NOTIFY_SOCKET": "@" + home.notify("r1.1")[1:]}
    argv = [sys.executable, "-S", "-c", PRELUDE + code]
    seen: list[InstanceState] = []
    running = Supervised.launched(
        spawn.Launch(home, record, argv, env, home.root, ()), lambda running: seen.append(running.state)
    )
    try:
        yield running, seen
    finally:
        running.kill("the test is over")
        await asyncio.wait_for(running.gone.wait(), 10)
        assert not records.running(home)


def within(seconds: float, test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on an event loop of its own, with a deadline."""

    async def bounded() -> None:
        await asyncio.wait_for(test(), seconds)

    asyncio.run(bounded())


def test_a_retiring_instance_is_killed_when_its_budget_is_over(home: EmbeddedHome) -> None:
    """Invariant 6, trap 8: not before, and its end has a cause."""

    async def test() -> None:
        ignores = "signal.signal(signal.SIGTERM, signal.SIG_IGN); say('READY=1'); time.sleep(60)"
        async with launched(home, ignores, drain=0.5) as (running, seen):
            await running.settled.wait()
            began = time.monotonic()
            running.retire("it was told to")
            await running.gone.wait()
            assert 0.5 <= time.monotonic() - began < 20
            assert seen[:2] == [InstanceState.READY, InstanceState.DRAINING]
            assert (running.status, running.cause) == (
                "was killed by SIGKILL",
                "it was still there 0.5 s after it was told to retire",
            )

    within(60, test)


def test_a_drain_may_ask_for_more_time(home: EmbeddedHome) -> None:
    """EXTEND_TIMEOUT_USEC of sd_notify(3): the deadline moves, and only forward."""

    async def test() -> None:
        extends = (
            "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); say('READY=1')\n"
            "signal.sigwait({signal.SIGTERM}); say('EXTEND_TIMEOUT_USEC=20000000')\n"
            "time.sleep(3); say('EXTEND_TIMEOUT_USEC=1')"
        )
        async with launched(home, extends, drain=2) as (running, _seen):
            await running.settled.wait()
            running.retire("it was told to")
            await running.gone.wait()
            assert running.status == "exited with status 0"

    within(60, test)


def test_ready_that_crosses_with_the_order_to_leave_gets_the_whole_drain(
    home: EmbeddedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 6: it may have accepted a connection in that moment, so the short deadline no longer holds."""
    monkeypatch.setattr(running_module, "LEAVE", 0.5)

    async def test() -> None:
        crosses = (
            "told = []; signal.signal(signal.SIGTERM, lambda *_: (say('READY=1'), told.append(1))); say('STATUS=x')\n"
            "while not told: time.sleep(0.01)\n"
            "time.sleep(1)"
        )
        async with launched(home, crosses) as (running, seen):
            await until_it_listens(running)
            running.retire("it was told to")
            await running.gone.wait()
            assert seen == [InstanceState.LEAVING, InstanceState.DRAINING, InstanceState.GONE]
            assert running.status == "exited with status 0"

    within(60, test)


async def until_it_listens(running: Supervised) -> None:
    """Until it has set its handler for SIGTERM: bit 14 of SigCgt in /proc/<pid>/status."""
    while not catches_sigterm(running.record.pid):  # noqa: ASYNC110 -- another process does not set our events
        await asyncio.sleep(0.01)


def catches_sigterm(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught, 16) & 1 << (signal.SIGTERM - 1))


def test_an_instance_that_falls_silent_is_ended(home: EmbeddedHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """WATCHDOG=1 of sd_notify(3): SIGABRT, and SIGKILL if that does not help."""
    monkeypatch.setattr(spawn, "WATCHDOG", 0.5)
    monkeypatch.setattr(running_module, "ABORT", 0.2)

    async def test() -> None:
        hangs = (
            "signal.signal(signal.SIGABRT, signal.SIG_IGN); say('READY=1')\n"
            "for _ in range(4): say('WATCHDOG=1'); time.sleep(0.3)\n"
            "time.sleep(60)"
        )
        async with launched(home, hangs) as (running, _seen):
            began = time.monotonic()
            await running.gone.wait()
            assert time.monotonic() - began > 1.4
            assert running.cause == "its watchdog was silent for 0.5 s"
            assert running.status == "was killed by SIGKILL"

    within(60, test)


def test_an_instance_that_never_used_the_watchdog_may_be_silent(
    home: EmbeddedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most apps know nothing of it."""
    monkeypatch.setattr(spawn, "WATCHDOG", 0.1)

    async def test() -> None:
        async with launched(home, "say('READY=1'); time.sleep(0.6)") as (running, _seen):
            await running.gone.wait()
            assert running.status == "exited with status 0"

    within(60, test)


def test_ready_right_before_the_end_counts(home: EmbeddedHome) -> None:
    """The message and the end may arrive in one turn of the loop; the order is that of the instance."""

    async def test() -> None:
        async with launched(home, "say('READY=1')") as (running, seen):
            # It has ended before our loop gets to hear anything, and the end is what we look at first.
            wait_until(lambda: procfs.stat(running.record.pid)[0] == "Z")
            running.reap()
            assert seen == [InstanceState.READY, InstanceState.GONE]

    within(60, test)


def test_the_record_follows_the_state_and_goes_with_the_instance(home: EmbeddedHome) -> None:
    """Invariant 5: it is what a later supervisor will know."""

    async def test() -> None:
        async with launched(home, "say('READY=1'); signal.pause()") as (running, _seen):
            await running.settled.wait()
            [record] = records.running(home)
            assert record == running.record
            assert record.state is InstanceState.READY
            assert not msgspec.structs.replace(record, started=record.started + 1).runs()
            assert not msgspec.structs.replace(record, boot="another").runs()
            running.retire("it was told to")
            await running.gone.wait()
        assert not list(home.run.glob("*.instance"))

    within(60, test)


def test_a_full_disk_does_not_keep_an_instance_from_draining(
    home: EmbeddedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 6: only its record is not up to date, and that is said."""

    def full(_home: EmbeddedHome, _record: Record) -> None:
        raise OSError(28, "No space left on device")

    async def test() -> None:
        async with launched(home, "say('READY=1'); signal.pause()") as (running, seen):
            await running.settled.wait()
            monkeypatch.setattr(records, "write", full)
            running.retire("it was told to")
            assert "No space left on device" in running.trouble
            await running.gone.wait()
            assert (seen[1:], running.trouble) == ([InstanceState.DRAINING, InstanceState.GONE], "")

    within(60, test)


def test_every_move_outside_the_table_is_refused(home: EmbeddedHome) -> None:
    """The table is the only way."""

    async def test() -> None:
        async with launched(home, "signal.pause()") as (running, _seen):
            for was, to in itertools.product(set(InstanceState) - {InstanceState.GONE}, InstanceState):
                if to not in MOVES[was]:
                    running.record = msgspec.structs.replace(running.record, state=was)
                    with pytest.raises(AssertionError, match=f"illegal move of r1.1: {was} -> {to}"):
                        running._move(to)
            running.record = msgspec.structs.replace(running.record, state=InstanceState.BOOTING)

    within(60, test)


def test_a_launch_that_fails_leaves_nothing(home: EmbeddedHome) -> None:
    """Invariant 8: the notify socket's name is taken; no process was started."""

    async def test() -> None:
        async with launched(home, "signal.pause()"):
            with pytest.raises(OSError, match="in use"):
                async with launched(home, "signal.pause()"):
                    pass

    within(60, test)


def test_private_sockets_are_not_put_where_others_may_enter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory that somebody else prepared under /tmp is refused."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    deep = EmbeddedHome(tmp_path.joinpath(*["deep"] * 30))
    found = Path(deep.private("r1.1"))
    assert found.parent.parent == tmp_path
    assert deep.private("r1.1") == str(found)
    found.parent.chmod(0o755)
    with pytest.raises(GaplessError, match="not a directory that only you can enter"):
        deep.private("r1.1")
