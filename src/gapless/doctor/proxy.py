"""Caddy in front: it must give up its idle connections before we do, or a POST on one of them is lost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from gapless.address import Address
from gapless.doctor.finding import Finding, Severity
from gapless.span import UNITS, show

CADDYFILE = Path("/etc/caddy/Caddyfile")
DEFAULT = 120.0  # seconds that Caddy keeps an idle connection to a server


def caddy(caddyfile: str, addresses: Sequence[str], linger: float) -> Finding | None:
    """Judge every `reverse_proxy` to one of `addresses` in the text of a Caddyfile; None: there is none.

    `linger` is what a retiring release allows its idle connections, in seconds.
    """
    ours = {name for written in addresses for name in _names(Address.parse(written))}
    blocks = [block for block in _proxies(caddyfile) if ours & {_upstream(word) for word in block.split()}]
    if not blocks:
        return None
    longest = max(_keepalive(block) for block in blocks)
    if longest < linger:
        return Finding("Caddy", Severity.OK, f"it keeps idle connections for {show(longest)}, less than linger")
    what = f"it keeps idle connections to us for {show(longest)}, and a retiring release only for {show(linger)}"
    hint = f"in {CADDYFILE}: reverse_proxy … {{ transport http {{ keepalive {max(int(linger) - 5, 1)}s }} }}"
    return Finding("Caddy", Severity.WARNING, f"{what} ([drain] linger): POSTs get lost at a deploy", hint)


def _names(address: Address) -> set[str]:
    """How a Caddyfile may call it."""
    if isinstance(address.name, str):
        return {f"unix/{address.name}"}
    host, _, port = address.reached.rpartition(":")
    return {address.reached, *({f"localhost:{port}", f":{port}"} if host in {"127.0.0.1", "[::1]"} else ())}


def _upstream(word: str) -> str:
    return word.removeprefix("http://").removeprefix("h2c://")


def _proxies(caddyfile: str) -> list[str]:
    """Every reverse_proxy directive with its block."""
    text = re.sub(r"(^|\s)#.*", r"\1", caddyfile)
    found = []
    for start in re.finditer(r"\breverse_proxy\s", text):
        end, depth = start.end(), 0
        while end < len(text) and (depth > 0 or text[end] != "\n"):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found.append(text[start.start() : end])
    return found


def _keepalive(block: str) -> float:
    """Seconds."""
    written = re.search(r"\bkeepalive\s+(\S+)", block)
    if not written:
        return DEFAULT
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", written[1])  # "off" has none
    return sum(float(number) * (UNITS | {"d": 86400.0})[unit] for number, unit in parts)
