"""A rehearsal: the release on a private socket first, for servers that cannot check themselves.

The same unit settings, but a Unix socket that only root can connect to in the place of the held one. Only when it
was ready there and answered its check is it started for real.
"""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import time
from pathlib import Path

from gapless.config.settings import Config
from gapless.errors import GaplessError, in_words
from gapless.linux.answers import Patience
from gapless.linux.files import clear_way, replace
from gapless.switch.systemd import journal, units
from gapless.switch.systemd.deadman import stopped_with_us
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.systemctl import Systemctl

EXCERPT = 200  # characters of a failed answer
WAIT = 0.1  # seconds between two attempts
SILENT = "it did not say READY=1 in time (sd_notify(3)): the switchover waits for that"
TAKE = "let it listen on descriptor 3 (LISTEN_FDS), then run `systemd-notify --ready`: examples/ has it for Node and Go"
KINDS = ("socket", "service")  # to stop in this order: a late connection would start the service again


def rehearse(home: SystemdHome, config: Config, release: str) -> tuple[str, tuple[str, ...]]:
    """Start the release on a private socket, check and stop it; returns the problem ("" if none) and its last lines."""
    ctl, deadline = home.ctl, time.monotonic() + config.check.timeout
    socket, service = (home.other("rehearsal", release, kind) for kind in KINDS)
    path = home.rehearsals / f"{release}.sock"
    texts = {
        socket: units.rehearsal(home, path),
        service: units.service(config, home, release, socket),
    }
    try:
        with stopped_with_us(ctl, socket, service, remove=[*(home.volatile / name for name in texts), path]):
            # Ours alone: who runs as the app, a live release say, cannot put a socket of its own there, and answer.
            home.rehearsals.parent.mkdir(parents=True, exist_ok=True)
            home.rehearsals.mkdir(mode=0o700, exist_ok=True)
            for name, text in texts.items():
                replace(home.volatile / name, text)
            problem = _start(ctl, service, deadline)
            hint = TAKE if problem == SILENT else ""
            if not problem:
                problem, hint = _check(config, path, deadline, release)
            if not problem:
                return "", ()
            invocation = ctl.show(["InvocationID"], service)[0]["InvocationID"]
            lines = journal.tail(home, invocation) if invocation else ()
            return f"in its rehearsal {problem}", (*lines, f"Try:   {hint}") if hint else lines
    finally:
        clear(home)


def clear(home: SystemdHome) -> None:
    """End every rehearsal and remove what it left: ours, and one whose deployer and deadman were killed."""
    ctl = home.ctl
    found = [path for kind in KINDS for path in sorted(home.volatile.glob(home.other("rehearsal", "*", kind)))]
    for path in found:
        with contextlib.suppress(GaplessError):  # systemd never read that file
            ctl.end(path.name)
    if found:
        ctl.attempt("reset-failed", *(path.name for path in found))
    for path in found:
        clear_way(path)
    clear_way(home.rehearsals)


def _start(ctl: Systemctl, service: str, deadline: float) -> str:
    try:
        done = ctl.attempt("start", service, timeout=max(deadline - time.monotonic(), 0.05))
    except subprocess.TimeoutExpired:
        return SILENT
    if done.returncode == 0:
        return ""
    unit = ctl.show(["ExecMainStatus", "Result", "StatusText"], service)[0]
    said = f": {unit['StatusText']}" if unit["StatusText"] else ""
    if unit["Result"] == "oom-kill":
        return f"it was killed before it was ready: out of memory{said}"
    return f"it ended before it was ready ({unit['Result']}, status {unit['ExecMainStatus']}){said}"


def _check(config: Config, path: Path, deadline: float, release: str) -> tuple[str, str]:
    """What is wrong with the answer to the check, and what to try; both empty if nothing is."""
    if not config.check.path:
        return "", ""
    what, patience = f"GET {config.check.path}", Patience()
    visitor = dataclasses.replace(config.check.visitor, proxied=True)  # of a Unix socket a server learns no address
    while True:
        left = max(deadline - time.monotonic(), 0.05)
        status, hint = None, ""
        try:
            status, headers, body = visitor.get(str(path), config.check.path, left)
            if 200 <= status < 300:
                return "", ""
            location = headers.get("location", "")
            said = location if 300 <= status < 400 else body[:EXCERPT].decode("utf-8", "replace").strip()
            problem = f"{what} answered {status}: {said}"
            hint = visitor.advice(status, location, release)
        except OSError as error:
            problem = f"{what} got no answer: {in_words(error)}"
        now = time.monotonic()
        if patience.is_over(status, "", now) or now + WAIT > deadline:
            return problem, hint
        time.sleep(WAIT)
