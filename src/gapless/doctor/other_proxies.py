"""nginx and haproxy in front: how long each keeps an idle connection to the app."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from gapless.address import Address
from gapless.doctor.finding import Finding, Severity
from gapless.span import UNITS, show

NGINX = Path("/etc/nginx")
HAPROXY = Path("/etc/haproxy/haproxy.cfg")
KEPT_BY_NGINX = 60.0  # seconds; `keepalive_timeout` of ngx_http_upstream_module
KEPT_BY_HAPROXY = 5.0  # seconds; `pool-purge-delay` of a server


def examine(addresses: Sequence[str], linger: float) -> list[Finding]:
    """Judge the configurations of this host's nginx and haproxy. Raises OSError."""
    files = [path for path in sorted(NGINX.rglob("*")) if path.is_file() and path.suffix in {"", ".conf"}]
    nginxes = "\n".join(path.read_text("utf-8", "replace") for path in files)
    haproxies = HAPROXY.read_text("utf-8", "replace") if HAPROXY.exists() else ""
    found = [nginx(nginxes, addresses, linger), haproxy(haproxies, addresses, linger)]
    return [one for one in found if one]


def nginx(text: str, addresses: Sequence[str], linger: float) -> Finding | None:
    """Judge every `upstream` block with one of `addresses` that keeps connections; None: there is none."""
    kept = []
    for block in re.findall(r"\bupstream\s+\S+\s*\{([^}]*)\}", re.sub(r"#.*", "", text)):
        servers = {one.removeprefix("unix:") for one in re.findall(r"\bserver\s+([^\s;]+)", block)}
        if servers & _reached(addresses) and re.search(r"\bkeepalive\s+\d", block):
            written = re.search(r"\bkeepalive_timeout\s+(\S+?)\s*;", block)
            kept.append(_seconds(written[1], "s") if written else KEPT_BY_NGINX)
    return _judge("nginx", max(kept), linger, "keepalive_timeout {};` in its upstream block") if kept else None


def haproxy(text: str, addresses: Sequence[str], linger: float) -> Finding | None:
    """Judge every `server` line with one of `addresses`; None: there is none."""
    kept = []
    for line in re.sub(r"#.*", "", text).splitlines():
        words = line.split()
        if words[:1] == ["server"] and {one.removeprefix("unix@") for one in words[2:3]} & _reached(addresses):
            delay = dict(itertools.pairwise(words)).get("pool-purge-delay")
            kept.append(_seconds(delay, "ms") if delay else KEPT_BY_HAPROXY)
    return _judge("haproxy", max(kept), linger, "pool-purge-delay {}` on its server line") if kept else None


def _reached(addresses: Sequence[str]) -> set[str]:
    reached = {Address.parse(written).reached for written in addresses}
    return reached | {one.replace("127.0.0.1:", "localhost:") for one in reached}


def _judge(name: str, kept: float, linger: float, where: str) -> Finding:
    if kept < linger:
        return Finding(name, Severity.OK, f"it keeps idle connections for {show(kept)}, less than linger")
    what = (
        f"it keeps idle connections to us for {show(kept)}, and a retiring release only for {show(linger)} "
        "([drain] linger): POSTs get lost at a deploy"
    )
    return Finding(name, Severity.WARNING, what, f"`{where.format(f'{max(int(linger - min(5, linger / 2)), 1)}s')}")


def _seconds(written: str, unit: str) -> float:
    """A span as both write it, `1m30s`; a bare number counts `unit`."""
    parts = re.findall(r"(\d+)(ms|s|m|h|d)?", written)
    return sum(float(number) * UNITS[named or unit] for number, named in parts)
