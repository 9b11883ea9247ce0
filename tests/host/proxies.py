"""Real proxies on a host: Caddy as a service of it, Debian's or a newer one in its place."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.host.host import Host

NEWER = Path(sys.executable).parent / "caddy"
MAIN = "/etc/caddy/Caddyfile"


def install_caddy(host: Host, *, newer: bool) -> None:
    """Start the host's caddy.service, as Debian's package has it; `newer`: with the program of the dev environment."""
    if newer:
        host.run("cp", str(NEWER), "/usr/bin/caddy.new")
        host.run("mv", "/usr/bin/caddy.new", "/usr/bin/caddy")
    host.run("systemctl", "enable", "--now", "caddy.service")


# Those that were rolled come first, by their time; Caddy may have packed them.
LOGGED = """
cd /var/log/caddy && for file in $(ls "$0"-[0-9]*T*.log* | sort) "$0.log"; do
    case $file in *.gz) zcat "$file" ;; *) cat "$file" ;; esac
done
"""


def logged(host: Host, app: str) -> list[dict[str, Any]]:
    """What Caddy logged of the requests to an app."""
    text = host.run("sh", "-c", LOGGED, app, check=False).stdout
    return [json.loads(line) for line in text.splitlines()]


def loads(host: Host) -> int:
    """How often Caddy has loaded its configuration anew."""
    return host.journal("caddy.service").count('"msg":"load complete"')


@contextlib.contextmanager
def hidden(host: Host, unit: str) -> Iterator[None]:
    """A host without the unit file `unit`, for a while."""
    host.run("mv", unit, f"{unit}.away")
    host.run("systemctl", "daemon-reload")
    yield
    host.run("mv", f"{unit}.away", unit)
    host.run("systemctl", "daemon-reload")
