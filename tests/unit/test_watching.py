"""What the supervisor hears and shows: notifications, logs, and the pause before the next try."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.switch.embedded import logs, notifications
from gapless.switch.embedded.backoff import Backoff
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.log_output import LogOutput
from gapless.switch.embedded.logs import Follower


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with notifications.bind(f"\0gapless-test-{os.getpid()}") as bound:
        yield bound


@pytest.fixture
def sender(receiver: socket.socket) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.connect(receiver.getsockname())
        yield one


def test_messages_are_variables_in_order(receiver: socket.socket, sender: socket.socket) -> None:
    """sd_notify(3): lines of NAME=value; what is no such line is skipped, and no message is an error."""
    assert list(notifications.messages(receiver)) == []
    for data in (b"READY=1\nSTATUS=a=b\n", b"\xff\0nonsense\n\n", b"", b"WATCHDOG=1"):
        sender.send(data)
    assert list(notifications.messages(receiver)) == [{"READY": "1", "STATUS": "a=b"}, {}, {}, {"WATCHDOG": "1"}]


def test_messages_of_other_users_are_dropped(
    receiver: socket.socket, sender: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 4: nobody else can call a candidate ready; abstract names have no file mode."""
    assert notifications.trusted() == {0, os.getuid()}
    monkeypatch.setattr(notifications, "trusted", lambda: {os.getuid() + 1})
    sender.send(b"READY=1")
    assert list(notifications.messages(receiver)) == []


def test_descriptors_that_are_sent_along_are_closed(receiver: socket.socket, sender: socket.socket) -> None:
    """FDSTORE and BARRIER of sd_notify(3): a barrier waits until the other end is closed."""
    ours, theirs = os.pipe()
    socket.send_fds(sender, [b"BARRIER=1"], [theirs])
    os.close(theirs)
    open_before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- a count
    assert list(notifications.messages(receiver)) == [{"BARRIER": "1"}]
    assert len(os.listdir("/proc/self/fd")) == open_before  # noqa: PTH208
    assert os.read(ours, 1) == b""
    os.close(ours)


def test_a_follower_gives_whole_lines_from_the_present_end_on(tmp_path: Path) -> None:
    """Half a line waits for its other half until the end, bytes that are no text are shown all the same."""
    log, seen = tmp_path / "r1.log", list[str]()
    log.write_text("old\n")
    follower = Follower(log, "r1", seen.append, cuts=True)
    with log.open("ab") as writer:
        for data in (b"one\ntw", b"o\n\xff\n", b"rest"):
            writer.write(data)
            writer.flush()
            follower.poll()
    assert seen == ["r1 | one", "r1 | two", "r1 | \N{REPLACEMENT CHARACTER}"]
    follower.close()
    assert seen[3:] == ["r1 | rest"]


def test_a_log_that_grew_too_large_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance keeps its descriptor: after the cut its lines go to the new end, without a hole."""
    monkeypatch.setattr(logs, "LARGEST", 100)
    log, seen = tmp_path / "r1.log", list[str]()
    follower = Follower(log, "r1", seen.append, cuts=True)
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 120 + b"\n")
        follower.poll()
        writer.write(b"after\n")
        follower.poll()
    follower.close()
    assert seen == ["r1 | " + "x" * 120, "r1 | after"]
    assert (tmp_path / "r1.log.1").read_bytes() == b"x" * 120 + b"\n"
    assert log.read_bytes() == b"after\n"


def test_an_endless_line_does_not_fill_the_memory(tmp_path: Path) -> None:
    """It is shown in pieces."""
    log, seen = tmp_path / "r1.log", list[str]()
    follower = Follower(log, "r1", seen.append, cuts=True)
    log.write_bytes(b"x" * (logs.LONGEST_LINE + 10))
    follower.poll()
    assert [len(line) for line in seen] == [logs.LONGEST_LINE + 10 + len("r1 | ")]
    follower.close()


def test_a_console_that_is_gone_does_not_end_what_serves(tmp_path: Path) -> None:
    """Invariant 1: the reader of our output may die; the log files have it all."""
    home = EmbeddedHome(tmp_path)
    home.make()
    calls = []

    def emit(line: str) -> None:
        calls.append(line)
        raise BrokenPipeError

    console = LogOutput(home, emit)
    console.open("r1.1", "r1")
    console.open("r1.2", "r1")
    (home.log / "r1.log").write_text("a\n")
    console.say("hello")
    console.shut("r1.1")
    console.close()
    assert calls == ["r1 | a"]


def test_the_pause_doubles_up_to_ten_seconds_and_a_long_life_ends_that() -> None:
    """A release that crashes is tried again, but does not take the machine with it."""
    backoff = Backoff()
    assert [backoff.delay("r1") for _ in range(9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    backoff.ended("r1", 29)
    backoff.ended("r2", 31)
    assert backoff.delay("r1") == 10
    backoff.ended("r1", 31)
    assert [backoff.delay("r1"), backoff.delay("r1")] == [0.1, 0.2]
    assert backoff.delay("r2") == 0.1
    assert backoff.delay("r1") == 0.1


def test_two_that_point_at_once_do_not_mix_up(tmp_path: Path) -> None:
    """Invariant 5: after each point, `current` is what one of them said; no temporary file is left."""
    home = EmbeddedHome(tmp_path)
    home.make()
    for name in ("r1", "r2"):
        (tmp_path / "releases" / name).mkdir()
    failures: list[Exception] = []

    def point(name: str) -> None:
        try:
            for _ in range(30):
                home.point(name)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=point, args=(name,)) for name in ("r1", "r2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert home.current() in {"r1", "r2"}
    assert {entry.name for entry in tmp_path.iterdir()} == {"releases", "log", "shared", "run", "current"}
