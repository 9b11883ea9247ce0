"""An app's site in Caddy's words: the Caddyfile of its [proxy]."""

from __future__ import annotations

import fnmatch
import re
from importlib.resources import files
from pathlib import Path

from gapless import inert
from gapless.address import Address
from gapless.config.settings import Certificate, Config
from gapless.switch.systemd.home import SystemdHome

MAIN = Path("/etc/caddy/Caddyfile")
SITES = MAIN.parent / "gapless"
LOGS = Path("/var/log/caddy")
IMPORT = f"import {SITES}/*.caddy"
# Where the packages' caddy.service has its home. By itself Caddy takes orders on TCP: from every local user.
ADMIN = "unix//var/lib/caddy/admin.sock"
# What every site says where its app does not.
DEFAULTS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
PUBLIC = {"Strict-Transport-Security": "max-age=31536000"}  # with a certificate that browsers know


def site(config: Config, home: SystemdHome, version: tuple[int, int]) -> str:
    """Render the site of `config` for a Caddy of `version`."""
    import jinja2  # only who writes it pays for it

    proxy = config.proxy
    cert = proxy.tls if isinstance(proxy.tls, Certificate) else None
    own = {name.lower() for name in proxy.headers}
    defaults = DEFAULTS | (PUBLIC if cert or proxy.tls == "auto" else {})
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 -- it is no HTML; config/problems.py refuses what is more than text to a Caddyfile
    )
    text = environment.from_string(_template("caddy/site")).render(
        home=home,
        log=log(home),
        addresses=[f"http://{one}" if proxy.tls == "off" else one for one in proxy.domains],
        tls=f'"{cert.cert}" "{cert.key}"' if cert else "internal" if proxy.tls == "internal" else "",
        defaults={name: value for name, value in defaults.items() if name.lower() not in own},
        headers=proxy.headers,
        extra=proxy.extra.rstrip("\n"),
        assets=home.public if config.assets.paths else "",
        uploads=home.uploads,
        prefixes=[*config.uploads],
        inert=inert.HEADERS,
        upstream=upstream(config),
        keepalive=keepalive(config.drain.linger),
        streams=_span(config.drain.streams),
        version=version,
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def log(home: SystemdHome) -> Path:
    """What was asked of the site, when and from where."""
    return LOGS / f"{home.name}.log"


def upstream(config: Config) -> str:
    """Name the app as a Caddyfile does: its Unix socket, if it has any."""
    addresses = sorted(map(Address.parse, config.addresses), key=lambda one: not isinstance(one.name, str))
    return f"unix/{addresses[0].name}" if isinstance(addresses[0].name, str) else addresses[0].reached


def keepalive(linger: float) -> str:
    """How long Caddy may keep an idle connection, so that it gives it up before a release that lingers does."""
    shorter = linger - min(5.0, linger / 2)
    return _span(shorter) if shorter else "off"


def imports(main: str, path: Path) -> bool:
    """Whether a main Caddyfile with the text `main` imports the file `path` by a line of its own."""
    words = [line.split() for line in main.splitlines()]
    return any(len(one) > 1 and one[0] == "import" and _matches(one[1].strip('"`'), path) for one in words)


def with_import(main: str) -> str:
    """Add the line that imports every site, at the end."""
    end = "" if main.endswith("\n") or not main else "\n"
    return f"{main}{end}\n# The sites of apps that `gapless up` installed.\n{IMPORT}\n"


def leaves_admin_open(main: str) -> bool:
    """Whether a main Caddyfile, `main`, says nothing of where Caddy takes orders, and has a place to say it."""
    words = [line.split() for line in main.splitlines()]
    first = next((one for one in words if one and not one[0].startswith("#")), [""])
    return not any(one[:1] == ["admin"] for one in words) and (first == ["{"] or first[0] not in {"{", "import"})


def with_admin(main: str) -> str:
    """Have Caddy take orders on ADMIN alone: in the global options, which come first, be there some or none."""
    line, lines = f"\tadmin {ADMIN}", main.splitlines(keepends=True)
    first = next((number for number, one in enumerate(lines) if one.split() and not one.lstrip().startswith("#")), None)
    if first is not None and lines[first].split() == ["{"]:
        return "".join([*lines[: first + 1], f"{line}\n", *lines[first + 1 :]])
    return f"# Orders come from root and Caddy's own user, not from every local user.\n{{\n{line}\n}}\n\n{main}"


def page() -> str:
    """What visitors see in maintenance, unless somebody writes another."""
    return _template("maintenance.html")


def _matches(pattern: str, path: Path) -> bool:
    return fnmatch.fnmatch(str(path), str(MAIN.parent / pattern))


def _span(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms" if seconds % 1 else f"{round(seconds)}s"


def _template(name: str) -> str:
    return files("gapless").joinpath("templates", name).read_text("utf-8")
