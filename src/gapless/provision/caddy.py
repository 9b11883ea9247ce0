"""The Caddy of this host: what it is, what it says of a configuration, and its reload."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gapless.errors import GaplessError
from gapless.linux.asking import ask
from gapless.provision.caddyfile import ADMIN, MAIN
from gapless.switch.systemd.systemctl import Systemctl
from gapless.switch.systemd.units import CADDY

UNIT = "caddy.service"
WITHIN, LATE = 30.0, 5.0  # seconds for an answer, and for systemd to end who gives none
LARGEST = 32 << 20  # bytes of an answer
OPEN_ADMIN = "localhost:2019"  # its default
ADMIN_HOME = Path(ADMIN.removeprefix("unix/")).parent
PROPERTIES = ("LoadState", "ExecStart", "User", "Group", "Environment")


class RefusedError(GaplessError):
    """Caddy does not accept a configuration."""


@dataclass(frozen=True)
class Caddy:
    """Caddy as its service runs it: the `program`, its `version`, and the variables that a Caddyfile may use.

    Who is not root can ask about /etc/caddy as it is alone.
    """

    program: str
    version: tuple[int, int]
    environment: list[str] = field(default_factory=list)  # options of systemd-run(1)

    def adapt(self, tree: Path) -> dict[str, Any]:
        """Read what the configuration directory `tree`, in the place of /etc/caddy, means. Raises RefusedError."""
        try:
            document: dict[str, Any] = json.loads(self._ask(tree, "adapt"))
        except (ValueError, RecursionError) as error:  # whoever has Caddy's user can answer in its place
            raise RefusedError("adapt", str(MAIN), f"it answered with no JSON: {error}") from error
        return document

    def validate(self, tree: Path) -> None:
        """Have Caddy do all but serve with the configuration directory `tree`. Raises RefusedError."""
        self._ask(tree, "validate")

    @property
    def default_admin(self) -> str:
        """Where Caddy takes orders if its configuration does not say it."""
        words = (word for one in self.environment for word in shlex.split(one))
        return next((one.rpartition("CADDY_ADMIN=")[2] for one in words if "CADDY_ADMIN=" in one), OPEN_ADMIN)

    @property
    def admin_is_open(self) -> bool:
        """Whether every local user gives it orders if its configuration does not say otherwise, as we can."""
        return self.default_admin == OPEN_ADMIN and ADMIN_HOME.is_dir()

    def reload(self) -> None:
        """Have the Caddy that runs take the configuration as it is now. Raises RefusedError; it goes on as before."""
        reload = ("reload", "--force")  # also when the text is the same: a certificate may not be
        try:
            self._ask(MAIN.parent, *reload)
        except RefusedError as error:
            if "dial unix" not in error.cause:
                raise
            # Caddy itself has not heard yet that it is to take orders there.
            self._ask(MAIN.parent, *reload, "--address", OPEN_ADMIN)

    def accepts(self, tree: Path) -> bool:
        """Whether Caddy could load the configuration directory `tree`."""
        try:
            self.validate(tree)
        except RefusedError:
            return False
        return True

    def _ask(self, tree: Path, verb: str, *options: str) -> str:
        argv = [self.program, verb, "--config", str(MAIN), "--adapter", "caddyfile", *options]
        if os.geteuid() == 0:
            # As Caddy's user, which opens log files and makes certificates on the way, and may read no more than that.
            argv = _as_caddy([*self.environment, f"BindReadOnlyPaths={tree}:{MAIN.parent}"], argv)
        try:
            done = ask(argv, within=WITHIN + LATE, largest=LARGEST, env=_homeless())
        except OSError as error:
            hint = f"`ps -u {CADDY}` shows what runs as it"
            raise RefusedError(verb, str(MAIN), f"asked as {CADDY}, {error.strerror or error}", hint) from error
        if done.returncode != 0:
            raise RefusedError(verb, str(MAIN), cause(done.stderr), "mend it: `caddy validate` says the same")
        return done.stdout


def find() -> Caddy:
    """Find the Caddy that is a service of this host and reads the usual file. Raises GaplessError."""
    unit = Systemctl().show(PROPERTIES, UNIT)[0]
    if unit["LoadState"] != "loaded":
        raise GaplessError("find", "Caddy", f"there is no {UNIT} here", "`apt install caddy`, or take [proxy] away")
    if str(MAIN) not in unit["ExecStart"]:
        hint = f"have its ExecStart= and ExecReload= say `--config {MAIN}`"
        raise GaplessError("use", UNIT, f"it does not read {MAIN}", hint)
    if (unit["User"], unit["Group"] or CADDY) != (CADDY, CADDY):
        cause = f"it runs as {unit['User'] or 'root'}:{unit['Group']}, and the app's socket is for {CADDY}"
        raise GaplessError("use", UNIT, cause, f"give it User={CADDY} and Group={CADDY}, as its packages do")
    program = unit["ExecStart"].partition("path=")[2].partition(" ;")[0]
    return Caddy(program, version_of(program), _environment(unit["Environment"]))


def version_of(program: str) -> tuple[int, int]:
    """Ask for the version. Raises GaplessError."""
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=False, env=_homeless()).stdout
    found = re.match(r"v?(\d+)\.(\d+)\.", said)
    if not found:
        raise GaplessError("use", program, f"it does not say its version but {said[:100]!r}")
    return int(found[1]), int(found[2])


def _homeless() -> dict[str, str]:
    """The caller's environment without a home: whatever caddy is asked, it makes directories there."""
    return os.environ | {"HOME": os.devnull}


def is_active() -> bool:
    """Whether Caddy runs."""
    return Systemctl().show(["ActiveState"], UNIT)[0]["ActiveState"] in {"active", "reloading"}


def read_again() -> None:
    """Have Caddy read its configuration, or start it. Raises GaplessError with what Caddy says."""
    if is_active():
        # Not by systemctl: an old Caddy whose reload fails does not tell systemd, which waits for 90 s.
        find().reload()
        return
    done = Systemctl().attempt("start", UNIT)
    if done.returncode != 0:
        argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=20", f"--unit={UNIT}"]
        said = ask(argv, within=WITHIN, largest=LARGEST).stdout
        told = [line for line in said.splitlines() if line.startswith("Error:") or '"error"' in line]
        raise GaplessError("start", UNIT, cause("\n".join(told) or done.stderr), f"`journalctl -u {UNIT}` says more")


def have_log(log: Path) -> None:
    """Make an empty log that only Caddy reads: an old one lets everybody read what it makes itself, at the first visit.

    Where that does not go, Caddy says why when it reads its configuration.
    """
    if not os.path.lexists(log):
        script = 'umask 077 && : >> "$0"'
        with suppress(OSError):  # it takes too long
            ask(_as_caddy([], ["sh", "-c", script, str(log)]), within=WITHIN + LATE, largest=LARGEST)


def _as_caddy(properties: Sequence[str], argv: Sequence[str]) -> list[str]:
    """What runs `argv` for a while as Caddy's user, with more `properties` of systemd-run(1)."""
    ends = (f"RuntimeMaxSec={WITHIN:g}", "TimeoutStopSec=1")
    about = (f"User={CADDY}", f"Group={CADDY}", *ends, *properties)
    run = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--service-type=exec"]
    return [*run, *(f"--property={one}" for one in about), "--", *argv]


@contextmanager
def staged(changes: Mapping[Path, str | None]) -> Iterator[Path]:
    """Copy /etc/caddy, owners and all, with other texts for some of its files; None: without the file."""
    with tempfile.TemporaryDirectory(prefix="gapless-caddy-") as folder:
        tree = Path(folder, "caddy")
        subprocess.run(["cp", "--archive", str(MAIN.parent), str(tree)], check=True, capture_output=True)
        for path, text in changes.items():
            copy = tree / path.relative_to(MAIN.parent)
            copy.unlink(missing_ok=True)  # first: it may be a link
            if text is not None:
                copy.parent.mkdir(exist_ok=True)
                copy.write_text(text, "utf-8", "surrogateescape")
        yield tree


def cause(said: str) -> str:
    """Say why Caddy failed, by the last line that it wrote: `Error: …`, or since 2.8 JSON."""
    lines = said.strip().splitlines() or ["it said nothing"]
    last = next((line for line in lines if line.startswith("panic:")), lines[-1])
    try:
        document = json.loads(last)
    except json.JSONDecodeError:
        return last.removeprefix("Error: ")
    parts = [str(document[key]) for key in ("msg", "error") if key in document] if isinstance(document, dict) else []
    return ": ".join(parts) or last


def hosts(document: object) -> set[str]:
    """All the domains that sites of an adapted configuration are for."""
    return {host for one in find_all(document, "host") if isinstance(one["host"], list) for host in one["host"]}


def find_all(document: object, key: str) -> Iterator[dict[str, Any]]:
    """Every object, at any depth, that has `key`."""
    if isinstance(document, dict):
        if key in document:
            yield document
        for value in document.values():
            yield from find_all(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from find_all(value, key)


def _environment(variables: str) -> list[str]:
    listed = Systemctl().do("show", "--property=EnvironmentFiles", "--value", UNIT)  # one on each line
    files = [line.rpartition(" (ignore_errors=") for line in listed.splitlines() if line]
    named = [f"EnvironmentFile={'-' if ignored.startswith('yes') else ''}{path}" for path, _, ignored in files]
    return [f"Environment={shlex.quote(one)}" for one in shlex.split(variables)] + named
