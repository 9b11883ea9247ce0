"""The embedded supervisor and its processes: what they inherit, and what becomes of them."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from gapless.linux import procfs
from gapless.switch.manager import Readiness, Role
from tests.contract.worlds import Embedded, ask, is_gone, live
from tests.support import wait_until


def test_signals_for_the_app_reach_the_live_instance(world: Embedded) -> None:
    """SIGHUP, SIGUSR1: what an operator sends to `gapless run` is meant for the release."""
    supervisor = world.up()
    live(world, world.release("r1", "shows signals"))
    for number in (signal.SIGHUP, signal.SIGUSR1):
        supervisor.send_signal(number)
        wait_until((world.shared / number.name).exists)
    assert ask(world.address).startswith("r1 ")


def test_workers_do_not_outlive_their_leader(world: Embedded) -> None:
    """Invariant 4: a worker left behind would go on accepting for a release that is not there."""
    world.up()
    first = live(world, world.release("r1", "forks"))
    told = world.shared / "worker"
    worker = int(wait_until(lambda: told.read_text() if told.exists() else None))
    told.unlink()
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: is_gone(worker))


def test_as_process_1_it_reaps_the_children_of_others(world: Embedded) -> None:
    """A container's process 1 inherits every orphan; here by PR_SET_CHILD_SUBREAPER (prctl(2))."""
    become = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1); os.execvp(sys.argv[1], sys.argv[1:])"
    supervisor = world.up(through=[sys.executable, "-c", become])
    live(world, world.release("r1", "orphans"))
    orphan = world.shared / "orphan"
    pid = int(wait_until(lambda: orphan.read_text() if orphan.exists() else None))
    wait_until(lambda: int(procfs.stat(pid)[1]) == supervisor.pid, what="the orphan has a new parent")
    (world.shared / "go").touch()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the orphan is reaped")
    assert ask(world.address).startswith("r1 ")


def test_a_live_instance_that_says_it_stops_is_replaced_at_once(world: Embedded) -> None:
    """Invariants 1 and 6: it drains, and the release accepts again without waiting for the end of that."""
    world.up()
    first = live(world, world.release("r1", "stops by itself"))
    os.kill(first.pid, signal.SIGUSR1)
    wait_until(lambda: [one.role for one in world.manager.instances()] == [Role.RETIRING, Role.LIVE])
    assert world.manager.instances()[0].id == first.id


def test_a_live_instance_that_does_not_get_ready_is_tried_again(world: Embedded) -> None:
    """After a crash it gets `check.timeout` to boot, not forever."""
    (world.home / "shared").mkdir(parents=True)
    (world.shared / "ready").touch()
    world.up()
    first = live(world, world.release("r1", "late", more="check.timeout = 2"))
    (world.shared / "ready").unlink()
    os.kill(first.pid, signal.SIGKILL)
    world.says("(it was not ready within 2 s)")
    (world.shared / "ready").touch()
    assert ask(world.address).startswith("r1 ")


def test_the_pause_of_a_crashing_release_does_not_hold_up_the_next(world: Embedded) -> None:
    """Invariant 1: the back-off belongs to one release; a commit begins anew."""
    world.up()
    world.manager.point(world.release("r1", "exits"))
    wait_until(lambda: world.output.read_text().count("exited with status 3") == 7, 30)  # the next try is in 6.4 s
    began = time.monotonic()
    world.manager.point(world.release("r2"))
    assert ask(world.address).startswith("r2 ")
    assert time.monotonic() - began < 5


def test_an_instance_finds_a_clean_process(world: Embedded) -> None:
    """sd_listen_fds(3), execve(2): descriptors, signals, session, directory and environment, whatever ours are."""
    report = (
        "import json, os, pathlib, signal\n"
        "status = dict(l.split(':\\t', 1) for l in pathlib.Path('/proc/self/status').read_text().splitlines())\n"
        "fds = {fd: os.readlink(f'/proc/self/fd/{fd}') for fd in map(int, os.listdir('/proc/self/fd'))"
        " if os.path.exists(f'/proc/self/fd/{fd}')}\n"
        "print(json.dumps([dict(os.environ), fds, status, os.getcwd(), os.getpid(), os.getsid(0)]))\n"
    )
    muddle = (
        "import os, signal, sys; signal.signal(signal.SIGUSR2, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"
        "for fd in (4, 5, 9, 30): os.dup2(os.open('/dev/zero', os.O_RDONLY), fd)\n"
        "os.environ |= {'NOTIFY_SOCKET': '/x', 'LISTEN_PID': '1', 'WATCHDOG_PID': '1', 'LISTEN_PIDFDID': '1'}\n"
        "os.environ |= dict.fromkeys(['INVOCATION_ID', 'CREDENTIALS_DIRECTORY', 'STATE_DIRECTORY', 'FDSTORE',"
        " 'MEMORY_PRESSURE_WATCH', 'MONITOR_UNIT', 'JOURNAL_STREAM'], 'the supervisor')\n"
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    world.up(through=[sys.executable, "-c", muddle])
    # -S -E: the interpreter itself must not add to what we look at
    started = world.manager.start(world.release("r1", "x y", [sys.executable, "-S", "-E", "-c", report]), 10)
    assert started.readiness is Readiness.EXITED
    env, fds, status, directory, pid, session = json.loads((world.home / "log/r1.log").read_text())

    assert fds == {
        "0": "/dev/null",
        "1": str(world.home / "log/r1.log"),
        "2": str(world.home / "log/r1.log"),
        "3": f"socket:[{world.inode()}]",
    }
    assert int(status["SigBlk"], 16) == 0
    python_ignores = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    python_ignores |= 1 << 31 | 1 << 32  # signals 32 and 33 are the C library's own: no program can set them, nptl(7)
    assert int(status["SigIgn"], 16) & ~python_ignores == 0
    assert started.instance
    assert (pid, session, directory) == (started.instance.pid, pid, str(world.home / "releases/r1"))
    ours = {name: value for name, value in env.items() if name.startswith(("LISTEN", "GAPLESS", "WATCHDOG"))}
    assert ours == {
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "web",
        "LISTEN_PID": str(pid),
        "WATCHDOG_PID": str(pid),
        "WATCHDOG_USEC": "30000000",
        "GAPLESS_RELEASE": "r1",
        "GAPLESS_PRIVATE": ours["GAPLESS_PRIVATE"],
        "GAPLESS_RUNTIME": ours["GAPLESS_RUNTIME"],
        "GAPLESS_SHARED": str(world.shared),
        "GAPLESS_CHECK": "",
        "GAPLESS_CHECK_HOST": "localhost",
        "GAPLESS_CHECK_SCHEME": "http",
        "GAPLESS_CHECK_HEADERS": "",
        "GAPLESS_CHECK_TIMEOUT": "60.0",
        "GAPLESS_LINGER": "35.0",
        "GAPLESS_REQUESTS": "30.0",
        "GAPLESS_STREAMS": "300.0",
        "GAPLESS_HEAD_TIMEOUT": "30.0",
        "GAPLESS_HEAD_SIZE": "65536",
        "GAPLESS_BODY_TIMEOUT": "300.0",
    }
    assert env["NOTIFY_SOCKET"].startswith("@gapless/")
    assert "the supervisor" not in env.values()
    assert env["BEHAVIOUR"] == "x y"
    assert env["PATH"].endswith(f"{os.pathsep}{Path(sys.executable).parent}")


def test_a_restart_that_the_disk_refuses_is_tried_again(world: Embedded) -> None:
    """Invariant 1: whatever keeps the current release from starting now, it is started when that is over."""
    world.up()
    first = live(world, world.release("r1"))
    log, away = world.home / "log", world.home / "log.away"
    log.rename(away)
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: world.manager.instances() == [])
    world.says("trying again")
    away.rename(log)
    assert ask(world.address).startswith("r1 ")
