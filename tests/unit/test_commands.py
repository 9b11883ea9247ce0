"""A release's own commands, as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gapless.config.settings import Command
from gapless.errors import GaplessError
from gapless.linux import signals
from gapless.linux.files import tail
from gapless.programs import Inherited
from gapless.release import commands
from gapless.release.store import Store
from gapless.switch.job import Kind
from tests.unit.release_kit import CONFIG


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.add("r1", fill)
    return store


def fill(directory: Path) -> None:
    (directory / "gapless.toml").write_text(CONFIG + 'env = { COLOUR = "blue" }\n')


def run(store: Store, command: Command, timeout: float = 20) -> None:
    around = Inherited.ours()
    commands.run(Kind.BUILD, commands.shell(command), store=store, release="r1", timeout=timeout, around=around)


def test_a_build_keeps_in_the_release_what_the_app_runs_with(store: Store) -> None:
    """Invariant 10: the same under every manager; tools would keep environments and interpreters in their caches."""
    run(store, 'echo "$UV_PYTHON_INSTALL_DIR $POETRY_VIRTUALENVS_IN_PROJECT"')
    assert store.log("r1").read_text() == f"{store.path('r1')}/.python true\n"


def test_where_and_with_what_it_runs(store: Store) -> None:
    """It runs in the release with the configured variables, and its output is appended to the release's log."""
    store.log("r1").write_text("before\n")
    run(store, 'pwd; echo "$COLOUR $GAPLESS_RELEASE $GAPLESS_SHARED" >&2; test -n "$PATH"; cat')
    assert store.log("r1").read_text().splitlines() == [
        "before",
        str(store.path("r1")),
        f"blue r1 {store.shared}",
    ]


def test_a_list_is_run_as_it_is(store: Store) -> None:
    """No shell touches an argv."""
    run(store, ["printf", "%s|", "a b", "$HOME"])
    assert store.log("r1").read_text() == "a b|$HOME|"


@pytest.mark.parametrize(
    ("command", "cause"),
    [("exit 3", "it exited with status 3"), ("kill -ABRT $$", "it was ended by SIGABRT")],
)
def test_failure(store: Store, command: str, cause: str) -> None:
    """Invariant 8: a failure names the status or the signal, and shows the last 30 lines."""
    with pytest.raises(GaplessError) as failed:
        run(store, f"seq 1 1000; {command}")
    assert failed.value.cause == cause
    assert failed.value.details == tuple(str(number) for number in range(971, 1001))
    assert str(store.log("r1")) in failed.value.hint


def test_no_such_program(store: Store) -> None:
    """Invariant 8: a program that is not there is named."""
    with pytest.raises(GaplessError, match=r"cannot start the build of r1: No such file .*not-there"):
        run(store, ["./not-there"])


def test_a_time_out_ends_the_whole_group(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that ignore SIGTERM are gone too when the time-out is reported."""
    monkeypatch.setattr(commands, "GRACE", 0.1)
    os.mkfifo(tmp_path / "alive")
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    stubborn = f"trap '' TERM; echo up > {tmp_path}/alive; exec cat {tmp_path}/never 3> {tmp_path}/alive"
    os.mkfifo(tmp_path / "never")
    with pytest.raises(GaplessError, match=r"it took longer than 3 s"):
        run(store, f"sh -c '{stubborn.replace(chr(39), chr(34))}' & wait", timeout=3)
    output = b""
    while chunk := os.read(reader, 100):  # ends when nobody has the pipe open any more: they are all gone
        output += chunk
    os.close(reader)
    assert output == b"up\n"


def test_ctrl_c_ends_the_group(store: Store, tmp_path: Path) -> None:
    """Ctrl-C comes to gapless only, which ends the command and says so by KeyboardInterrupt."""
    script = (
        "import sys; from pathlib import Path;"
        "from gapless.release import commands; from gapless.release.store import Store;"
        "from gapless.switch.job import Kind; from gapless.programs import Inherited;"
        "store = Store(Path(sys.argv[1]));"
        "commands.run(Kind.BUILD, commands.shell('echo up; exec cat never'), store=store, release='r1', timeout=60,"
        " around=Inherited.ours())"
    )
    os.mkfifo(store.path("r1") / "never")
    log = store.log("r1")
    os.mkfifo(log)
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stderr=subprocess.PIPE) as process:
        with log.open("rb", buffering=0) as output:
            assert output.readline() == b"up\n"
            process.send_signal(signal.SIGINT)
            assert output.read() == b""  # whoever wrote to the log is gone
        _out, stderr = process.communicate()
    assert b"KeyboardInterrupt" in stderr


def test_ctrl_c_while_a_process_starts_is_delivered_just_after() -> None:
    """A Ctrl-C in the middle of a start is not lost, and comes when the child is known."""
    done = []

    def start() -> None:
        with signals.held():
            signal.raise_signal(signal.SIGINT)
            done.append("started")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert done == ["started"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_tail_of_no_log_and_of_a_long_line(tmp_path: Path) -> None:
    """The tail shows of a line what people read, whatever a program writes, and nothing where there is nothing."""
    assert tail(tmp_path / "none") == ()
    (tmp_path / "log").write_bytes(b"x" * 1_000_000 + b"\n\xff\n")
    long, last = tail(tmp_path / "log")
    assert len(long) < 3000
    assert last == "\N{REPLACEMENT CHARACTER}"


def test_the_first_line_that_fails_ends_a_command(store: Store) -> None:
    """Invariant 8: a build of several lines does not go on as if nothing had happened."""
    with pytest.raises(GaplessError, match="exited with status 3"):
        run(store, "echo before\n(exit 3)\necho after")
    assert "after" not in store.log("r1").read_text()
