"""What /proc says about processes and sockets (proc(5)); the kernel is Linux, and nothing is cached."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from gapless.linux.libc import checked, libc

PROC = Path("/proc")
SYS_PIDFD_GETFD = 438  # pidfd_getfd(2): the same number on every architecture
ENVIRON = 6 << 20  # bytes: execve(2) takes no more, but who runs may say that it is anywhere, prctl(2) PR_SET_MM_MAP
PATIENCE = 1.0  # seconds for a call that takes none
LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp

libc.syscall.restype = ctypes.c_long


def boot() -> str:
    """Return the id of this boot: pids and start times of another boot mean nothing."""
    return (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()


def stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat that follow the name: [0] is field 3, the state. Raises OSError."""
    # The name may contain spaces and brackets; the last ")" ends it.
    return (PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()


def started(pid: int) -> int:
    """When `pid` started, in clock ticks since boot (field 22): with the pid it names one process of a boot."""
    return int(stat(pid)[19])


def lives(pid: int, since: int) -> bool:
    """Whether the very process `pid` that `started` at `since` is still there; a zombie is not."""
    try:
        found = stat(pid)
    except OSError:
        return False
    return int(found[19]) == since and found[0] not in "ZX"


def session(leader: int) -> Iterator[int]:
    """`leader`, then every other process of its session (field 6)."""
    yield leader
    for pid in _pids():
        try:
            if pid != leader and int(stat(pid)[3]) == leader:
                yield pid
        except OSError:
            continue  # it ended while we looked


def children() -> list[int]:
    """Our own children, zombies too."""
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):  # it ended while we looked
            if int(stat(pid)[1]) == os.getpid():
                found.append(pid)
    return found


def variables(pid: int) -> dict[str, str]:
    """The environment that `pid` was started with. Raises OSError when it is gone or not ours."""
    with (PROC / str(pid) / "environ").open("rb") as file:
        words = file.read(ENVIRON).split(b"\0")
    return {
        os.fsdecode(name): os.fsdecode(value)
        for name, is_one, value in (one.partition(b"=") for one in words)
        if is_one
    }


def umask(pid: int | str) -> int:
    """The umask of a process. Raises OSError."""
    return int(
        (PROC / str(pid) / "status").read_text("utf-8", "replace").partition("\nUmask:")[2].split(maxsplit=1)[0], 8
    )


def sockets(pid: int) -> dict[int, int]:
    """The sockets that `pid` has open: inode → one of its descriptors. Raises OSError when it is gone or not ours."""
    found: dict[int, int] = {}
    for entry in (PROC / str(pid) / "fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # closed while we looked
        if target.startswith("socket:["):
            found.setdefault(int(target[8:-1]), int(entry.name))
    return found


def take(pidfd: int, descriptor: int) -> int:
    """Our own copy, close-on-exec, of another process's descriptor (pidfd_getfd(2)); raises OSError."""
    return checked(libc.syscall(SYS_PIDFD_GETFD, pidfd, descriptor, 0))


def listener(port: int) -> str:
    """Who listens on TCP `port`, as "pid 12 (nginx)"; empty when it cannot be found out."""
    inodes = set(_listening(port))
    for pid in _pids():
        try:
            if inodes & sockets(pid).keys():
                return f"pid {pid} ({(PROC / str(pid) / 'comm').read_text('utf-8', 'replace').strip()})"
        except OSError:
            continue  # it ended, or it is another user's
    return ""


def _listening(port: int) -> Iterator[int]:
    for table in (PROC / "net/tcp", PROC / "net/tcp6"):
        if not table.exists():
            continue  # a kernel without IPv6
        for line in table.read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield int(fields[9])


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())


def memory(pid: int) -> int:
    """Bytes that the session which `pid` leads has resident; pages that its processes share count for each."""
    page, found = os.sysconf("SC_PAGESIZE"), 0
    for one in session(pid) if pid else []:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
            found += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * page
    return found


def _user(pid: int) -> int:
    """The real user of a process, who started it; -1 when it ended."""
    with contextlib.suppress(OSError):
        status = (PROC / str(pid) / "status").read_text("utf-8", "replace")
        return int(status.partition("\nUid:")[2].split(maxsplit=1)[0])
    return -1


def units(pid: int) -> list[str]:
    """The units, slices and scopes of systemd that `pid` is in, the outermost first. Raises OSError.

    Of every hierarchy that there is, cgroups(7): systemd's may be any of them.
    """
    lines = (PROC / str(pid) / "cgroup").read_text("utf-8", "replace").splitlines()
    return [part for line in lines for part in line.split(":", 2)[2].split("/")]


def at_work(
    directory: Path, mark: str, variable: str, users: Collection[int], of_unit: Callable[[str], str] = lambda _unit: ""
) -> set[str]:
    """The names of what in `directory` any process of `users` uses, of the processes that we may look at.

    It works in there, its program is from there, or it was started with `mark` in its environment: then `variable`
    there has the name. But it cannot choose its unit: where `of_unit` has a name for that, this alone counts.
    """
    inside, ours, name = f"{directory.resolve()}/", mark.encode(), f"{variable}=".encode()
    found = set()
    for pid in _pids():
        if _user(pid) not in users:  # anybody may go there, or say so: that must not keep it for ever
            continue
        with contextlib.suppress(OSError):
            if named := [one for one in map(of_unit, units(pid)) if one]:
                found.add(named[-1])
                continue
        for link in ("cwd", "exe"):
            with contextlib.suppress(OSError):  # it ended while we looked, or is another user's
                path = str((PROC / str(pid) / link).readlink())
                if path.startswith(inside):
                    found.add(path.removeprefix(inside).partition("/")[0])
        with contextlib.suppress(OSError):
            with (PROC / str(pid) / "environ").open("rb") as file:
                variables = file.read(ENVIRON).split(b"\0")
            if ours in variables:
                found |= {os.fsdecode(one.removeprefix(name)) for one in variables if one.startswith(name)}
    return found


def kill_all_of(users: Collection[int]) -> list[int]:
    """Send SIGKILL to every process of `users`, and return their numbers; not to those of containers that root made.

    Such a container may have users of the same numbers. Only root can make namespaces for processes without one for
    users, user_namespaces(7): so a user's own do not hide his processes.
    """
    contained, found = set(), []
    for pid in _pids():
        if (user := _user(pid)) in users:
            if _is_contained(pid):
                contained.add(user)
            elif _runs(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    found.append(pid)
    for user in {*users} - contained if found else ():
        _kill_at_once(user)
    return found


def _kill_at_once(user: int) -> None:
    """Send SIGKILL to every process of `user` in one call: one after the other, they may start new ones as fast.

    A child becomes that user, and of all processes may signal these alone; it is not among them, kill(2).
    """
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(user, user, user)
            if user > 0 and os.getresuid() == (user, user, user):  # as root it would be every process of the machine
                os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    with open(os.pidfd_open(child), "rb") as ended:  # noqa: PTH123 -- a descriptor, for select(2)
        if not select.select([ended], [], [], PATIENCE)[0]:  # they may have stopped it
            os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _is_contained(pid: int) -> bool:
    """Whether a process numbers processes otherwise than we do, and users as we do."""
    try:
        return _namespace(pid, "user") == _namespace("self", "user") and _namespace(pid, "pid") != _namespace(
            "self", "pid"
        )
    except OSError:
        return False  # it ended while we looked


def _namespace(pid: int | str, kind: str) -> Path:
    return (PROC / str(pid) / "ns" / kind).readlink()


def _runs(pid: int) -> bool:
    """Whether a process has not ended: a zombie is left for its parent."""
    try:
        return stat(pid)[0] not in "ZX"
    except OSError:
        return False


def having_open(paths: Collection[str]) -> list[int]:
    """The processes that have one of the files `paths` open, of those that we may look at."""
    return sorted(pid for pid in _pids() if _has_open(pid, paths))


def _has_open(pid: int, paths: Collection[str]) -> bool:
    with contextlib.suppress(OSError):  # it ended, or is another user's
        for entry in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if str(entry.readlink()) in paths:
                    return True
    return False
