"""The machine itself: systemd, the kernel's queue, the disk, the clock, log-out, the user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path

from gapless.address import Address
from gapless.config.settings import Build, Config
from gapless.doctor.finding import Finding, Severity
from gapless.errors import GaplessError
from gapless.listen import BACKLOG
from gapless.provision.host import OLDEST, require_systemd
from gapless.release.store import made
from gapless.switch.systemd.home import SystemdHome

MB = 1_000_000
LEAST_SPACE, LEAST_SHARE = 200 * MB, 0.02  # below either a deploy fails, and so may the app
LOW_SPACE, LOW_SHARE = 1000 * MB, 0.10  # below either it is time to do something
AHEAD = 60.0  # seconds by which a clock may be put right
BUILD_MEMORY = Build().memory  # which nobody wrote
CGROUPS = Path("/sys/fs/cgroup")
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


def systemd(home: SystemdHome) -> Finding:
    """Whether systemd is there and new enough."""
    try:
        require_systemd(home)
    except GaplessError as error:
        return Finding("systemd", Severity.FAILED, error.cause, error.hint)
    return Finding("systemd", Severity.OK, f"it runs here, and is version {OLDEST} or later")


def backlog(limit: int, actual: int | None) -> Finding:
    """`limit` is net.core.somaxconn, `actual` the shortest queue of the listening sockets; None: none was seen."""
    if limit < BACKLOG:
        hint = (
            f"sysctl -w net.core.somaxconn={BACKLOG}, with the same line in /etc/sysctl.d for the next boot; "
            "the next `gapless deploy` then makes the queue longer"
        )
        what = f"the kernel cuts the queue of connections to {limit} of {BACKLOG} (net.core.somaxconn)"
        return Finding("backlog", Severity.WARNING, what, hint)
    if actual is not None and actual < BACKLOG:
        what = f"the queue of the listening socket is {actual} long instead of {BACKLOG}: a server has cut it"
        return Finding("backlog", Severity.WARNING, what, "the next `gapless deploy` puts it right")
    seen = "no listening socket was seen" if actual is None else f"the listening socket has {actual}"
    return Finding("backlog", Severity.OK, f"net.core.somaxconn is {limit}, {seen}")


def shortest_queue(listing: str, addresses: Iterable[str]) -> int | None:
    """The least backlog of `addresses` in what `listeners` says; None when none of them is there."""
    wanted = {Address.parse(written).name for written in addresses}
    found = []
    for line in listing.splitlines():
        words = line.split()
        if len(words) < 5 or words[1] != "LISTEN":
            continue
        host, _, port = words[4].rpartition(":")
        name = (host.strip("[]").replace("*", "::"), int(port)) if words[0] == "tcp" else words[4]
        if name in wanted:
            found.append(int(words[3]))
    return min(found, default=None)


def listeners(addresses: Iterable[str]) -> str:
    """Lines of ss(8) about what listens on TCP, and about the Unix sockets among `addresses`; "" where there is no ss.

    Not about all Unix sockets: everybody can make one, with line feeds in its name.
    """
    lines = [f"tcp {line}" for line in (ask("ss", "-Hltn") or "").splitlines()]
    for address in map(Address.parse, addresses):
        if isinstance(address.name, str):
            lines.append(ask("ss", "-Hlxn", "src", f"unix:{address.name}") or "")
    return "\n".join(lines)


def disk(path: Path) -> Finding:
    """Space and inodes of the file system that `path` is on, or will be."""
    there = next(one for one in (path, *path.parents) if one.exists())
    return space(str(path), os.statvfs(there))


def space(path: str, found: os.statvfs_result) -> Finding:
    """Judge what statvfs(3) says of the file system of `path`."""
    if found.f_flag & os.ST_RDONLY:
        hint = "`dmesg` says why; then `mount -o remount,rw` it"
        return Finding("disk", Severity.FAILED, f"the file system of {path} is read-only", hint)
    free = found.f_bavail * found.f_frsize
    share = found.f_bavail / found.f_blocks if found.f_blocks else 1.0
    inodes = found.f_favail / found.f_files if found.f_files else 1.0  # some file systems do not count them
    what = f"{free / MB:,.0f} MB ({share:.0%}) and {inodes:.0%} of the inodes are free in {path}"
    state = Severity.OK
    if free < LOW_SPACE or min(share, inodes) < LOW_SHARE:
        state = Severity.WARNING
    if free < LEAST_SPACE or min(share, inodes) < LEAST_SHARE:
        state = Severity.FAILED
    hint = "`gapless prune --keep 2` removes old releases; `du -xsh` shows the rest" if state is not Severity.OK else ""
    return Finding("disk", state, what, hint)


def clock(synchronized: str | None, now: float, newest: str | None) -> Finding:
    """`synchronized` is timedatectl's answer (None: there was none), `now` Unix time, `newest` a release's name."""
    hint = "timedatectl set-ntp true"
    if newest is not None and (made(newest) or 0.0) > now + AHEAD:  # None: somebody made that directory by hand
        what = f"the clock is behind: the newest release, {newest}, would be from the future"
        return Finding("clock", Severity.FAILED, what, hint)
    if synchronized == "yes":
        return Finding("clock", Severity.OK, "synchronized")
    if synchronized == "no":
        return Finding("clock", Severity.WARNING, "not synchronized: releases and logs are in order of time", hint)
    return Finding(
        "clock", Severity.UNKNOWN, "whether it is synchronized could not be seen: timedatectl does not answer"
    )


def limits(config: Config, home: SystemdHome) -> list[Finding]:
    """Whether the kernel can hold an app to the limits that somebody wrote; nothing where nobody did."""
    wanted = {"cpu": config.limits.cpu, "memory": config.limits.memory or config.build.memory not in ("", BUILD_MEMORY)}
    needed = {controller for controller, limit in wanted.items() if limit}
    if not needed:
        return []
    return [controllers(needed, (CGROUPS / _group_of(home) / "cgroup.controllers"))]


def _group_of(home: SystemdHome) -> str:
    return f"user.slice/user-{os.getuid()}.slice/user@{os.getuid()}.service" if home.user else ""


def controllers(needed: Collection[str], listing: Path) -> Finding:
    """Judge the control groups' controllers in the file `listing`, cgroups(7)."""
    there = listing.read_text("ascii").split() if listing.exists() else []
    if lacking := sorted({*needed} - {*there}):
        what = f"systemd has no control groups' controller for {' and '.join(lacking)} here: those limits do nothing"
        hint = "boot with `systemd.unified_cgroup_hierarchy=1 cgroup_enable=memory` on the kernel's command line"
        return Finding("limits", Severity.WARNING, what, hint)
    return Finding("limits", Severity.OK, f"the kernel limits {' and '.join(sorted(needed))}")


def linger(home: SystemdHome) -> Finding:
    """Whether the caller's own systemd manager outlives the log-out, loginctl(1)."""
    user = pwd.getpwuid(os.getuid()).pw_name
    if shutil.which("loginctl") is None:
        return Finding("linger", Severity.UNKNOWN, "there is no loginctl here")
    if ask("loginctl", "show-user", user, "--property=Linger", "--value") == "yes":
        return Finding("linger", Severity.OK, f"{user}'s systemd manager stays after log-out")
    what = f"{user}'s systemd manager ends at log-out and {home.name} with it, and neither is there after a boot"
    return Finding("linger", Severity.FAILED, what, f"sudo loginctl enable-linger {user}")


def shared(path: Path, owner: str) -> Finding:
    """Whether the user `owner` may write in `path`; "" is the caller. Raises OSError when it cannot be seen."""
    name = owner or pwd.getpwuid(os.getuid()).pw_name
    if not path.is_dir():
        return Finding("shared", Severity.FAILED, f"there is no directory {path}", "`gapless up` makes it")
    if not owner:
        may = os.access(path, os.W_OK | os.X_OK)
    else:
        try:
            user = pwd.getpwnam(owner)
        except KeyError:
            return Finding("shared", Severity.FAILED, f"there is no user {owner}", "`gapless up` makes it")
        may = _may_write(path.stat(), user.pw_uid, os.getgrouplist(owner, user.pw_gid))
    if may:
        return Finding("shared", Severity.OK, f"{name} may write in {path}")
    what = f"{name} may not write in {path}"
    return Finding("shared", Severity.FAILED, what, f"chown {name} {path} && chmod u+rwx {path}")


def _may_write(found: os.stat_result, uid: int, groups: list[int]) -> bool:
    bits = 0o300 if found.st_uid == uid else 0o030 if found.st_gid in groups else 0o003
    return found.st_mode & bits == bits


def ask(*argv: str) -> str | None:
    """Run a program of the machine and return what it says; None when the program is not there or fails."""
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=env)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
