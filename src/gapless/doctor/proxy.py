"""Caddy in front: what it says of its own configuration, and whether a deploy, a reload or a liar can do harm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gapless.address import Address
from gapless.config.settings import Config
from gapless.doctor.finding import Finding, Severity
from gapless.errors import GaplessError
from gapless.provision import caddy, caddyfile
from gapless.span import show
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.systemctl import Systemctl

DEFAULT = 120.0  # seconds that Caddy keeps an idle connection to a server
NANOSECONDS = 1e9  # in a second: Caddy's JSON counts spans in them


def examine(config: Config, home: SystemdHome | None) -> list[Finding]:
    """The findings about the Caddy of this host, as far as it has to do with the app. Raises GaplessError, OSError."""
    wanted = bool(config.proxy.domains and home and home.owner)
    if not wanted and not caddyfile.MAIN.exists():
        return []
    try:
        found = caddy.find()
    except GaplessError as error:
        return [Finding("Caddy", Severity.FAILED if wanted else Severity.UNKNOWN, error.cause, error.hint)]
    try:
        adapted = found.adapt(caddyfile.MAIN.parent)
    except caddy.RefusedError as error:
        what = f"it cannot load its configuration, and goes on with the one before: {error.cause}"
        return [Finding("Caddy", Severity.FAILED, what, error.hint)]
    judged = judge(adapted, found.version, config.addresses, config.drain.linger)
    told = ([judged] if judged else []) + ([*_of_site(config, home)] if wanted and home else [])
    return told + ([admin(adapted, found.default_admin)] if told else [])


def judge(adapted: object, version: tuple[int, int], addresses: Sequence[str], linger: float) -> Finding | None:
    """Judge every reverse_proxy to one of `addresses` in what `caddy adapt` said; None: there is none.

    `linger` is what a retiring release allows its idle connections, in seconds.
    """
    ours = {name for written in addresses for name in _names(Address.parse(written))}
    every = caddy.find_all(adapted, "upstreams")
    proxies = [one for one in every if ours & {str(each.get("dial")) for each in one["upstreams"]}]
    if not proxies:
        return None
    longest = max(map(_keepalive, proxies))
    wrong: dict[str, str] = {}
    if longest >= linger:
        shorter = f"transport http {{ keepalive {caddyfile.keepalive(linger)} }}"
        wrong[shorter] = (
            f"it keeps idle connections to us for {show(longest)}, and a retiring release only for {show(linger)} "
            "([drain] linger): POSTs get lost at a deploy"
        )
    if any(one.get("health_checks", {}).get("passive", {}).get("fail_duration") for one in proxies):
        wrong["no fail_duration"] = "one failure keeps it from us for fail_duration, as there is no other to ask"
    if not all(one.get("load_balancing", {}).get("try_duration") for one in proxies):
        wrong["lb_try_duration 10s"] = "it tries once, should the socket be closed for a moment"
    if version >= (2, 7) and not all(one.get("stream_close_delay") for one in proxies):
        wrong["stream_close_delay 5m"] = "each reload of it closes all WebSockets at once"
    if not wrong:
        return Finding("Caddy", Severity.OK, f"it keeps idle connections for {show(longest)}, less than linger")
    hint = f"have every reverse_proxy to us say: {'; '.join(wrong)} (`[proxy]` does)"
    return Finding("Caddy", Severity.WARNING, "; ".join(wrong.values()), hint)


def admin(adapted: object, default: str) -> Finding:
    """Judge where Caddy takes orders, as `caddy adapt` said, or by its `default`: whoever gives them has all it has."""
    said = adapted.get("admin", {}) if isinstance(adapted, dict) else {}
    listen = "" if said.get("disabled") else str(said.get("listen") or default)
    if not listen or listen.startswith("unix"):
        return Finding("Caddy's orders", Severity.OK, f"it takes them {f'on {listen}' if listen else 'from nobody'}")
    what = f"every local user, and every app, can have it do anything: it takes orders on {listen}"
    reload = f"`caddy reload --config {caddyfile.MAIN} --address {listen}`"
    hint = f"say `admin {caddyfile.ADMIN}` in the global options of {caddyfile.MAIN}, then {reload}"
    return Finding("Caddy's orders", Severity.FAILED, what, hint)


def _of_site(config: Config, home: SystemdHome) -> Iterator[Finding]:
    """What else an app with a site of its own needs."""
    unit = Systemctl().show(["ActiveState", "UnitFileState"], caddy.UNIT)[0]
    if unit["ActiveState"] not in {"active", "reloading"} or unit["UnitFileState"] != "enabled":
        what = f"{caddy.UNIT} is {unit['ActiveState']} and {unit['UnitFileState'] or 'not enabled'}"
        yield Finding("Caddy service", Severity.FAILED, what, f"systemctl enable --now {caddy.UNIT}")
    if home.maintenance.exists():
        yield Finding(
            "maintenance", Severity.WARNING, "visitors see the page of maintenance", "gapless maintenance off"
        )
    tcp = [one for one in config.addresses if not one.startswith("unix:")]
    if tcp:
        what = f"every local user can connect to {', '.join(tcp)} and say there who a visitor is (X-Forwarded-For)"
        yield Finding("visitors' addresses", Severity.WARNING, what, f'listen = "unix:/run/{config.name}.sock"')


def _names(address: Address) -> set[str]:
    """How Caddy may call it."""
    if isinstance(address.name, str):
        return {f"unix/{address.name}"}
    host, _, port = address.reached.rpartition(":")
    return {address.reached, *({f"localhost:{port}", f":{port}"} if host in {"127.0.0.1", "[::1]"} else ())}


def _keepalive(proxy: dict[str, Any]) -> float:
    """Seconds."""
    kept = proxy.get("transport", {}).get("keep_alive", {})
    if kept.get("enabled") is False:
        return 0.0
    return float(kept["idle_timeout"]) / NANOSECONDS if "idle_timeout" in kept else DEFAULT
