"""`gapless exec` as root for an app's user: on a real terminal, which that user is never to reach."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gapless.release.store import Store
from tests.support import wait_until
from tests.unit.release_kit import CONFIG

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs commands as somebody else")

OTHER = "nobody"
# What a shell and `gapless exec` are: the leader of a session on the terminal, whose group is in front.
DRIVER = """
import fcntl, sys, termios
from pathlib import Path
from gapless.cli.options import stop_like_ctrl_c
from gapless.errors import GaplessError
from gapless.release.commands import interact
from gapless.release.store import Store
fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)
stop_like_ctrl_c()
try:
    status = interact(sys.argv[4:], store=Store(Path(sys.argv[2])), release="r1", owner=sys.argv[3])
except GaplessError as error:
    status = error.status
    raise
finally:
    Path(sys.argv[2], "status").write_text(str(status))
"""
# The system's own: those of a virtual environment may be below a home that nobody else enters.
PYTHON = shutil.which("python3", path=os.defpath) or sys.executable
INTRUDER = """
import fcntl, json, os, termios
pushed = []
for name in (0, 1, 2, "/dev/tty"):
    try:
        where = name if isinstance(name, int) else os.open(name, os.O_RDWR)
        for byte in b"id\\n":
            fcntl.ioctl(where, termios.TIOCSTI, bytes([byte]))
        pushed.append(name)
    except OSError:
        pass
stat = open("/proc/self/stat").read().rpartition(")")[2].split()
names = [os.ttyname(one) for one in (0, 1, 2) if os.isatty(one)]
print("found", json.dumps({"session": os.getsid(0), "terminal": int(stat[4]), "names": names, "pushed": pushed}))
"""


class Seat:
    """A terminal, with `gapless exec` on it; what is not on it is given as Popen takes it."""

    def __init__(self, home: Path, owner: str, *argv: str, through: Sequence[str] = (), **streams: int) -> None:
        self.home = home
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", 33, 99, 0, 0))
        self.modes = termios.tcgetattr(self.slave)
        self.screen = b""
        os.set_blocking(self.master, False)
        stdin, stdout, stderr = (streams.get(one, self.slave) for one in ("stdin", "stdout", "stderr"))
        argv = (*through, sys.executable, "-c", DRIVER, str(self.slave), str(home), owner, *argv)
        self.process = subprocess.Popen(
            argv, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, pass_fds=[self.slave]
        )

    def read(self) -> bytes:
        """All that is on the screen so far."""
        while self.master >= 0 and select.select([self.master], [], [], 0)[0]:
            try:
                self.screen += os.read(self.master, 65536)
            except OSError:
                break
        return self.screen

    def says(self, text: bytes, seconds: float = 20) -> None:
        def said() -> bool:
            return text in self.read()

        wait_until(said, seconds, f"{text!r} on the screen")

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def status(self, seconds: float = 20) -> int:
        """What `gapless exec` would exit with; the screen is read meanwhile, as a terminal does."""
        wait_until(lambda: (self.read(), self.process.poll() is not None)[1], seconds, "its end")
        self.read()
        return int((self.home / "status").read_text())

    def waiting(self) -> int:
        """Bytes in the input queue of the terminal, for its shell to read."""
        tty.setraw(self.slave, termios.TCSANOW)
        return int.from_bytes(fcntl.ioctl(self.slave, termios.FIONREAD, bytes(4)), sys.byteorder)

    def leave(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        for one in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(one)


def fill(directory: Path) -> None:
    (directory / "gapless.toml").write_text(CONFIG)


@pytest.fixture
def sit() -> Iterator[Callable[..., Seat]]:
    """Sit down: run a command of the release as somebody else, on a terminal."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        Path(folder).chmod(0o755)
        Store(Path(folder)).add("r1", fill)

        def start(*argv: str, owner: str = OTHER, through: Sequence[str] = (), **streams: int) -> Seat:
            seat = Seat(Path(folder), owner, *argv, through=through, **streams)
            stack.callback(seat.leave)
            return seat

        yield start


Sit = Callable[..., Seat]


@pytest.mark.parametrize("pipes", [(), ("stdin",), ("stdout",), ("stderr",), ("stdin", "stdout")], ids=str)
def test_our_terminal_is_out_of_reach(sit: Sit, pipes: tuple[str, ...]) -> None:
    """A command of another user can put no character into our terminal's queue: it has neither it nor its session."""
    seat = sit(PYTHON, "-c", INTRUDER, **dict.fromkeys(pipes, subprocess.PIPE))
    ours = os.fstat(seat.slave).st_rdev
    if "stdout" in pipes:
        assert seat.process.stdout is not None
        line = seat.process.stdout.readline()
    else:
        seat.says(b"pushed")
        assert seat.status() == 0
        line = seat.screen
    assert seat.status() == 0
    found = json.loads(line.partition(b"found ")[2])
    assert seat.waiting() == 0, found
    assert found["session"] != os.getsid(0)
    assert found["session"] != seat.process.pid
    assert found["terminal"] not in (0, ours)  # it has one, and not ours
    assert len(found["names"]) == 3 - len(pipes)
    assert os.ttyname(seat.slave) not in found["names"]


def test_without_a_terminal_it_has_a_session_of_its_own(sit: Sit) -> None:
    """/dev/tty is not there either when all three are files, though `gapless exec` has a terminal."""
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    seat = sit(PYTHON, "-c", INTRUDER, **streams)
    out, err = seat.process.communicate(timeout=20)
    found = json.loads(out.partition(b"found ")[2])
    assert (found["terminal"], found["names"], found["pushed"], err) == (0, [], [], b"")
    assert found["session"] != seat.process.pid
    assert seat.waiting() == 0


def test_a_line_is_asked_for_and_answered(sit: Sit) -> None:
    """Prompt, echo and editing are the command's terminal's own; our modes come back when it ends."""
    seat = sit("sh", "-c", 'printf "who? "; read who; echo "it is $who, on $(stty size)"; exit 7')
    seat.says(b"who? ")
    seat.type(b"nx\x7fobody\r")
    seat.says(b"it is nobody, on 33 99\r\n")
    assert seat.status() == 7
    assert seat.screen == b"who? nx\x08 \x08obody\r\nit is nobody, on 33 99\r\n"
    assert termios.tcgetattr(seat.slave) == seat.modes


def test_a_shell_with_jobs_works(sit: Sit) -> None:
    """An interactive shell has a terminal to control: no complaint, Ctrl-Z stops a job, fg takes it up again."""
    seat = sit("bash", "--norc", "--noprofile", "-i")
    seat.says(b"$ ")
    seat.type(b"echo here''; cat\r")
    seat.says(b"here\r\n")
    seat.type(b"he\x7fello\r")
    seat.says(b"ello\r\nhello\r\n")
    seat.type(b"\x1a")
    seat.says(b"Stopped")
    seat.type(b"fg; echo ba''ck; exit 5\r")
    seat.says(b"fg; echo ba''ck; exit 5\r\n")
    seat.type(b"again\r")
    seat.says(b"again\r\nagain\r\n")
    seat.type(b"\x04")
    seat.says(b"back\r\n")
    assert seat.status() == 5
    assert b"job control" not in seat.screen


def test_it_follows_the_size(sit: Sit) -> None:
    """SIGWINCH comes to the command with the new size."""
    seat = sit("sh", "-c", 'trap "stty size; exit 0" WINCH; echo up; while :; do read -r line; done')
    seat.says(b"up")
    fcntl.ioctl(seat.master, termios.TIOCSWINSZ, struct.pack("4H", 50, 120, 0, 0))
    seat.says(b"50 120")
    assert seat.status() == 0


@pytest.mark.parametrize(("key", "status"), [(b"\x03", 130), (b"\x1c", 131)])
def test_keys_that_interrupt_come_to_the_command_alone(sit: Sit, key: bytes, status: int) -> None:
    """Ctrl-C and Ctrl-\\ reach the whole group in front of the command's terminal, and what ends is the command."""
    seat = sit("sh", "-c", "ulimit -c 0; echo up; cat | cat")
    seat.says(b"up")
    seat.type(key)
    assert seat.status() == status
    assert termios.tcgetattr(seat.slave) == seat.modes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_us_are_passed_on(sit: Sit, number: signal.Signals) -> None:
    """What is sent by kill(1) is the command's to answer, and the terminal has its modes back afterwards."""
    seat = sit("sh", "-c", f"trap 'echo heard; exit 9' {number.name[3:]}; echo up; while :; do read -r line; done")
    seat.says(b"up")
    assert termios.tcgetattr(seat.slave) != seat.modes
    os.kill(seat.process.pid, number)
    assert seat.status() == 9
    assert b"heard" in seat.screen
    assert termios.tcgetattr(seat.slave) == seat.modes


def test_what_it_said_last_is_shown(sit: Sit) -> None:
    """All output before the command's end is there, and a child that keeps its terminal open does not make us wait."""
    seat = sit("sh", "-c", "(trap '' HUP; exec sleep 60) & echo $!; seq 1 20000; echo the end")
    assert seat.status() == 0
    os.kill(int(seat.screen.partition(b"\r\n")[0]), signal.SIGKILL)
    assert seat.screen.endswith(b"19999\r\n20000\r\nthe end\r\n")
    assert seat.screen.count(b"\r\n") == 20002


def test_a_closed_terminal_ends_it(sit: Sit) -> None:
    """When our terminal goes away, so does the command's: SIGHUP."""
    seat = sit("sh", "-c", "trap 'exit 4' HUP; echo up; while :; do read -r line; done")
    seat.says(b"up\r\n")
    os.close(seat.slave)
    os.close(seat.master)
    seat.master = -1
    assert seat.status() == 4


def test_a_pipe_goes_in_and_a_terminal_shows_what_comes_out(sit: Sit) -> None:
    """Bytes and the end of a pipe on standard input come as they are; the terminal is no pipe's."""
    seat = sit("sh", "-c", "wc -c; test -t 1 && echo shown", stdin=subprocess.PIPE)
    assert seat.process.stdin is not None
    with seat.process.stdin as pipe:
        pipe.write(bytes(range(256)) * 1000)
    assert seat.status() == 0
    assert seat.screen == b"256000\r\nshown\r\n"


def test_a_terminal_asks_and_a_pipe_takes_the_answer(sit: Sit) -> None:
    """Of a pipeline our terminal stays as it is: what is typed is shown once, and comes; Ctrl-D ends it."""
    seat = sit("sh", "-c", "echo up >&2; head -c 1000 /dev/zero; cat; test -t 0", stdout=subprocess.PIPE)
    seat.says(b"up\r\n")
    assert termios.tcgetattr(seat.slave) == seat.modes
    seat.type(b"line\n")
    seat.type(b"rest\x04\x04")
    assert seat.process.stdout is not None
    assert seat.process.stdout.read() == bytes(1000) + b"line\nrest"
    assert seat.status() == 0
    assert seat.screen.replace(b"^D\x08\x08", b"") == b"up\r\nline\r\nrest"


def test_a_pager_behind_it_keeps_the_keyboard(sit: Sit) -> None:
    """While somebody else in the pipeline has changed the modes of our terminal, not a key of it is ours."""
    seat = sit("sh", "-c", "echo up >&2; cat", stdout=subprocess.PIPE)
    seat.says(b"up")
    tty.setcbreak(seat.slave, termios.TCSANOW)
    seat.type(b"q")
    wait_until(lambda: select.select([seat.slave], [], [], 0)[0])
    assert os.read(seat.slave, 10) == b"q"
    termios.tcsetattr(seat.slave, termios.TCSANOW, seat.modes)
    seat.type(b"\x03")  # told to our group, of which the command is none
    assert seat.status() == 130


def test_pipes_are_passed_byte_by_byte(sit: Sit) -> None:
    """What is no terminal the command gets itself: nothing is added, nothing is lost, and it ends."""
    content = bytes(range(256)) * 4096
    seat = sit("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert seat.process.communicate(content, timeout=20)[0] == content
    assert seat.status() == 0


def test_what_cannot_be_started_leaves_the_terminal_as_it_was(sit: Sit) -> None:
    """Modes come back on every way out."""
    seat = sit("/no-such-program")
    assert seat.status() == 127
    assert termios.tcgetattr(seat.slave) == seat.modes
    assert b"No such file" in seat.read()


def test_we_ourselves_keep_the_terminal(sit: Sit) -> None:
    """A command of the same user is on our terminal itself, in our session."""
    seat = sit(PYTHON, "-c", INTRUDER.replace("TIOCSTI", "TIOCGWINSZ"), owner=pwd.getpwuid(os.geteuid()).pw_name)
    assert seat.status() == 0
    found = json.loads(seat.screen.strip().partition(b"found ")[2])
    assert found["session"] == seat.process.pid
    assert found["names"] == [os.ttyname(seat.slave)] * 3


NOTHING = {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0, "NoNewPrivs": 1}


def test_it_can_never_gain_a_right(sit: Sit) -> None:
    """No capability in any set, and no_new_privs: sudo, su and ping's file capabilities do nothing for it."""
    seat = sit("cat", "/proc/self/status", stdout=subprocess.PIPE)
    out, _ = seat.process.communicate(timeout=20)
    fields = dict(line.split(":\t", 1) for line in out.decode().splitlines())
    assert {name: int(fields[name], 16) for name in NOTHING} == NOTHING
    user = pwd.getpwnam(OTHER)
    assert fields["Uid"].split() == [str(user.pw_uid)] * 4
    assert fields["Gid"].split() == [str(user.pw_gid)] * 4
    assert fields["Groups"].split() == [str(one) for one in sorted(os.getgrouplist(OTHER, user.pw_gid))]


def test_a_step_that_the_kernel_refuses_is_named(sit: Sit) -> None:
    """Invariant 8: root who may not empty the bounding set starts nothing, and hears why; the status is 127."""
    seat = sit("true", through=["setpriv", "--bounding-set=-setpcap"])
    seat.says(b"gapless.errors.GaplessError: cannot become the user nobody: cannot empty its bounding set: Operation")
    assert seat.status() == 127
    assert termios.tcgetattr(seat.slave) == seat.modes
