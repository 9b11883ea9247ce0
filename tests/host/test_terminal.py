"""`gapless exec` for an app's user: on a real terminal, which that user is never to reach, and in pipelines."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.host.advice import follow, hint
from tests.host.host import Host
from tests.host.life import Shop, app_up
from tests.support import GAPLESS, wait_until

# What a shell is: the leader of a session on the terminal, whose group is in front; it becomes `gapless exec`.
DRIVER = """
import fcntl, os, sys, termios
os.setsid()
if sys.argv[1] != "none":
    fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""
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
own = os.getsid(0) == os.getpid()
print("found", json.dumps({"own": own, "terminal": int(stat[4]), "names": names, "pushed": pushed}))
"""


class Seat:
    """A terminal, with `gapless exec` on it; what is not on it is given as Popen takes it."""

    def __init__(self, shop: Shop, *argv: str, **streams: int) -> None:
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", 33, 99, 0, 0))
        self.modes = termios.tcgetattr(self.slave)
        self.screen = b""
        os.set_blocking(self.master, False)
        stdin, stdout, stderr = (streams.get(one, self.slave) for one in ("stdin", "stdout", "stderr"))
        command = [sys.executable, "-c", DRIVER, str(self.slave), *GAPLESS, "exec", "--", *argv]
        self.process = subprocess.Popen(
            shop.host.argv(*command, cwd=shop.project, env={"TERM": "xterm"}),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=[self.slave],
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
        """What `gapless exec` exited with; the screen is read meanwhile, as a terminal does."""
        wait_until(lambda: (self.read(), self.process.poll() is not None)[1], seconds, "its end")
        self.read()
        return int(self.process.returncode)

    def waiting(self) -> int:
        """Bytes in the input queue of the terminal, for its shell to read."""
        tty.setraw(self.slave, termios.TCSANOW)
        return int.from_bytes(fcntl.ioctl(self.slave, termios.FIONREAD, bytes(4)), sys.byteorder)

    def kill(self, number: int) -> None:
        """Send a signal to `gapless exec` alone."""
        os.kill(pid_of(self.process), number)

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


def pid_of(process: subprocess.Popen[bytes]) -> int:
    """The process of `gapless` that what runs it inside of the host became, or has as its child."""
    pid = process.pid
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[0])
        if b"\0exec\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
            break
    return pid


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app that is up."""
    with app_up(host) as one:
        yield one


Sit = Callable[..., Seat]


@pytest.fixture
def sit(shop: Shop) -> Iterator[Sit]:
    """Sit down: run a command of the release, on a terminal."""
    with contextlib.ExitStack() as stack:

        def start(*argv: str, **streams: int) -> Seat:
            seat = Seat(shop, *argv, **streams)
            stack.callback(seat.leave)
            return seat

        yield start
        assert commands(shop.host) == ""


def commands(host: Host) -> str:
    """The units of `gapless exec` that there are, and their files."""
    listed = host.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "shop.exec_*").stdout
    return listed + host.run("sh", "-c", "ls /run/systemd/system | grep shop.exec_", check=False).stdout


@pytest.mark.parametrize("pipes", [(), ("stdin",), ("stdout",), ("stderr",), ("stdin", "stdout")], ids=str)
def test_our_terminal_is_out_of_reach(sit: Sit, pipes: tuple[str, ...]) -> None:
    """A command of another user can put no character into our terminal's queue: it has neither it nor its session."""
    seat = sit("python3", "-c", INTRUDER, **dict.fromkeys(pipes, subprocess.PIPE))
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
    assert found["own"]
    assert bool(found["terminal"]) == ("stdin" not in pipes)
    assert len(found["names"]) == 3 - len(pipes)


def test_without_a_terminal_it_has_a_session_of_its_own(sit: Sit) -> None:
    """/dev/tty is not there either when all three are files, though `gapless exec` has a terminal."""
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    seat = sit("python3", "-c", INTRUDER, **streams)
    out, err = seat.process.communicate(timeout=20)
    found = json.loads(out.partition(b"found ")[2])
    assert (found["terminal"], found["names"], found["pushed"], err) == (0, [], [], b"")
    assert found["own"]
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
    seat.kill(number)
    assert seat.status() == 9
    assert b"heard" in seat.screen
    assert termios.tcgetattr(seat.slave) == seat.modes


def test_what_it_said_last_is_shown(sit: Sit) -> None:
    """All output before the command's end is there, and a child that keeps its terminal open does not make us wait."""
    seat = sit("sh", "-c", "(trap '' HUP; exec sleep 60) & echo $!; seq 1 20000; echo the end")
    assert seat.status() == 0
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


def piped(shop: Shop, *argv: str, **streams: int) -> subprocess.Popen[bytes]:
    """`gapless exec` as a script has it: on no terminal."""
    command = [sys.executable, "-c", DRIVER, "none", *GAPLESS, "exec", "--", *argv]
    given = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | streams
    return subprocess.Popen(shop.host.argv(*command, cwd=shop.project), start_new_session=True, **given)  # type: ignore[call-overload, no-any-return]


ECHO = "cat; echo problem >&2; exit 3"


def test_streams_are_apart_and_unchanged(shop: Shop) -> None:
    """Every byte of a pipe, standard error by itself, and the status of the command."""
    content = bytes(range(256)) * 4096
    done = piped(shop, "sh", "-c", ECHO)
    assert done.communicate(content, timeout=20) == (content, b"problem\n")
    assert done.returncode == 3
    assert "exec_" not in shop("logs").stdout  # what it said is its caller's alone


def test_the_status_of_what_ends_at_once(shop: Shop) -> None:
    """It is the command's own, however soon that is over."""
    for script, status in (("exit 3", 3), ("exit 0", 0), ("kill -KILL $$", 137), ("kill -TERM $$", 143)):
        assert shop("exec", "--", "sh", "-c", script, check=False).returncode == status, script


def test_what_cannot_be_seen_from_there_is_said(shop: Shop) -> None:
    """Invariant 8: root can run it, the app's account cannot see it; the status is that of a shell."""
    shop.host.run("install", "-D", "/bin/true", "/root/.local/bin/tool")
    done = shop("exec", "--", "/root/.local/bin/tool", check=False)
    assert done.returncode == 127
    assert "cannot start /root/.local/bin/tool: it is not to be seen from there" in done.stderr
    assert hint(done.stderr).startswith("install that program for all users")
    done = shop("exec", "--", "tool", check=False)
    assert done.returncode == 127
    assert hint(done.stderr).startswith("a name is looked for in .venv/bin of the release and on its PATH")
    shop.host.run("install", "/bin/true", "/usr/local/bin/tool")
    shop("exec", "--", "tool")


def test_a_unit_that_does_not_start_says_why(shop: Shop) -> None:
    """Invariant 8: what systemd said of it is where the error says; mended, the same command runs."""
    shop.host.run("mkdir", "-p", "/data")
    shop.write(config="[sandbox]\nwritable = ['/data']\n")
    shop.deploy()
    shop.host.run("rmdir", "/data")
    done = shop("exec", "--", "true", check=False)
    assert done.returncode == 127, done.stderr
    wait_until(lambda: "/data: No such file" in follow(shop, hint(done.stderr)), what="systemd's word")
    shop.host.run("mkdir", "/data")
    shop("exec", "--", "true")


def test_files_and_sockets_are_read_and_written_where_they_are(shop: Shop) -> None:
    """A file goes on at its place, read or written; a socket, as of sshd, is as good as a pipe."""
    content = bytes(range(256)) * 1000
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target, ours, theirs:
        source.write(b"skipped" + content)
        source.seek(7)
        target.write(b"before ")
        target.flush()
        streams = {"stdin": source.fileno(), "stdout": target.fileno(), "stderr": theirs.fileno()}
        done = piped(shop, "sh", "-c", ECHO, **streams)
        assert done.wait(20) == 3
        target.seek(0)
        assert target.read() == b"before " + content
        assert ours.recv(100) == b"problem\n"


@pytest.mark.parametrize("how", ["pipe", "socket"])
def test_it_ends_with_the_connection(shop: Shop, how: str) -> None:
    """Nobody reads what it says any more, as when SSH breaks: it gets SIGHUP, and SIGKILL where it stays."""
    then = "" if how == "pipe" else "; exit 4"
    stays = f"trap '' PIPE; trap 'echo told > $GAPLESS_SHARED/told{then}' HUP; echo up; while :; do sleep 0.1; done"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        streams = dict.fromkeys(("stdout", "stderr"), theirs.fileno()) if how == "socket" else {}
        done = piped(shop, "sh", "-c", stays, **streams)
        theirs.close()
        heard = ours.recv(3) if done.stdout is None else done.stdout.readline()
        assert heard == (b"up\n")
        ours.close()
        for pipe in (done.stdin, done.stdout, done.stderr):
            if pipe:
                pipe.close()
        wait_until(lambda: shop.host.run("test", "-e", "/srv/shop/shared/told", check=False).returncode == 0)
        assert done.wait(20) == (4 if then else 128 + signal.SIGKILL)
    assert commands(shop.host) == ""
    shop.host.run("rm", "/srv/shop/shared/told")


def test_one_who_reads_no_more_does_not_end_it(shop: Shop) -> None:
    """`gapless exec … | head -1` has what follows done, as without gapless."""
    done = piped(shop, "sh", "-c", "trap '' PIPE; echo up; while read line; do :; done; echo done >&2")
    assert done.stdin is not None
    assert done.stdout is not None
    assert done.stderr is not None
    assert done.stdout.readline() == b"up\n"
    done.stdout.close()
    done.stdin.write(b"one\ntwo\n")
    done.stdin.close()
    assert done.stderr.read() == b"done\n"
    assert done.wait(20) == 0
    done.stderr.close()


def test_a_kill_leaves_nothing(shop: Shop) -> None:
    """Invariant 10: of one that SIGKILL ends nothing goes on, and neither a unit nor a secret is left in /run."""
    before = shop.host.run("find", "/run", "-name", "*exec_*").stdout
    done = piped(shop, "sh", "-c", "sleep 1000 & echo up; wait")
    assert done.stdout is not None
    assert done.stdout.readline() == b"up\n"
    assert commands(shop.host) != ""
    os.kill(pid_of(done), signal.SIGKILL)
    done.communicate(timeout=20)
    wait_until(lambda: commands(shop.host) == "")
    assert shop.host.run("find", "/run", "-name", "*exec_*").stdout == before
    assert shop.host.run("pgrep", "-u", "shop", "sleep", check=False).stdout == ""


def test_nothing_that_it_started_outlives_it(shop: Shop) -> None:
    """Invariant 10: not even what has a session of its own."""
    done = piped(shop, "sh", "-c", "setsid sleep 1000 > /dev/null 2>&1 < /dev/null & echo ok")
    assert done.communicate(timeout=20)[0] == b"ok\n"
    assert shop.host.run("pgrep", "-u", "shop", "sleep", check=False).stdout == ""
    assert commands(shop.host) == ""


def test_one_whose_deadman_is_killed_too_keeps_no_release(shop: Shop) -> None:
    """Invariants 5 and 12: the next command that looks at the releases ends what is left of it."""
    done = piped(shop, "sh", "-c", "trap '' HUP PIPE; echo up; while :; do sleep 1; done")
    assert done.stdout is not None
    assert done.stdout.readline() == b"up\n"
    shop.host.run("pkill", "-KILL", "-f", "^/bin/sh -c.*deadman")
    os.kill(pid_of(done), signal.SIGKILL)
    done.wait(20)
    assert commands(shop.host) != ""
    shop("prune")
    assert commands(shop.host) == ""
    done.communicate(timeout=20)
