"""A rehearsal: the release on a private socket first, for servers that cannot check themselves.

The same unit settings, but a Unix socket that only root can connect to in the place of the held one. Only when it
was ready there and answered its check is it started for real.
"""

from __future__ import annotations

import http.client
import subprocess
import time
from pathlib import Path

from gapless.config import Config
from gapless.switch import units
from gapless.switch.files import replace
from gapless.switch.guard import stopped_with_us
from gapless.switch.place import Place
from gapless.switch.systemctl import Systemctl
from gapless.unix_http import get

EXCERPT = 200  # characters of a failed answer
WAIT = 0.1  # seconds between two attempts


def rehearse(place: Place, ctl: Systemctl, config: Config, release: str, deadline: float) -> str:
    """Start, check, stop; what is wrong, or "" when it held before `deadline` (monotonic seconds)."""
    service, socket = (place.other("rehearsal", release, kind) for kind in ("service", "socket"))
    path = place.run / f"{release}.rehearsal.sock"
    texts = {
        socket: units.rehearsal(config, path),
        service: units.service(config, place, release, socket),
    }
    try:
        for name, text in texts.items():
            replace(place.volatile / name, text)
        with stopped_with_us(ctl, socket, service):
            problem = _start(ctl, service, deadline) or _check(config, path, deadline)
            return f"in its rehearsal {problem}" if problem else ""
    finally:
        for unit in (socket, service):  # the socket first, or a late connection starts the service again
            ctl.attempt("stop", unit)
        ctl.attempt("reset-failed", socket, service)
        for name in texts:
            (place.volatile / name).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _start(ctl: Systemctl, service: str, deadline: float) -> str:
    try:
        done = ctl.attempt("start", service, timeout=max(deadline - time.monotonic(), 0.05))
    except subprocess.TimeoutExpired:
        return "it did not say READY=1 in time (sd_notify(3)): the switchover waits for that"
    if done.returncode == 0:
        return ""
    unit = ctl.show(["ExecMainStatus", "Result", "StatusText"], service)[0]
    said = f": {unit['StatusText']}" if unit["StatusText"] else ""
    return f"it ended before it was ready ({unit['Result']}, status {unit['ExecMainStatus']}){said}"


def _check(config: Config, path: Path, deadline: float) -> str:
    if not config.check.path:
        return ""
    what = f"GET {config.check.path}"
    while True:
        left = max(deadline - time.monotonic(), 0.05)
        try:
            status, _headers, body = get(str(path), config.check.path, config.check.host, left)
            if 200 <= status < 300:
                return ""
            problem = f"{what} answered {status}: {body[:EXCERPT].decode('utf-8', 'replace').strip()}"
        except (OSError, http.client.HTTPException) as error:
            problem = f"{what} got no answer: {error or type(error).__name__}"
        if time.monotonic() + WAIT > deadline:
            return problem
        time.sleep(WAIT)
