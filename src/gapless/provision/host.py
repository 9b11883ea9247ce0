"""Whether an app can be installed here: systemd is there, the name is free, and systemd accepts the units."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from gapless.address import Address, in_use
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.provision.account import Account
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome, ours
from gapless.switch.systemd.listeners import taken

OLDEST = 249  # Upholds= came with it


def require_systemd(home: SystemdHome) -> None:
    """Refuse hosts without systemd, or with one that is too old for us. Raises GaplessError."""
    said = home.ctl.do("--version").split()
    version = said[1] if len(said) > 1 else "?"
    if not version.isdecimal() or int(version) < OLDEST:
        hint = "use `gapless run` (the embedded supervisor) there"
        raise GaplessError("use", "systemd", f"its version is {version}, and gapless needs {OLDEST}", hint)
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        raise GaplessError("use", "systemd", "this machine was not booted with it", "use `gapless run` there")


def refuse_foreign(home: SystemdHome) -> None:
    """Refuse a name that units, a directory or an account have which others made. Raises GaplessError."""
    # The service of the same name is what systemd would start for a socket without a release.
    names = (home.socket, f"{home.name}.service", home.unit(""))
    for directory in home.ctl.do("show", "--property=UnitPath", "--value").split():
        for unit in (Path(directory, name) for name in names):
            if unit.exists() and not ours(unit):
                hint = "choose another `name`, or remove that unit"
                raise GaplessError("manage", home.name, f"{unit} is not gapless's", hint)
    if home.is_foreign:
        hint = "choose another `name`, or move that directory away"
        raise GaplessError("manage", home.name, f"{home.root} is there, and not gapless's", hint)
    _refuse_accounts(home)


def refuse_taken(config: Config, home: SystemdHome) -> None:
    """Refuse an address that another app of ours holds, be it up or stopped just now. Raises GaplessError."""
    wanted = {Address.parse(written).name for written in config.addresses}
    for unit in sorted(home.units.glob("*.socket")):
        if unit.name == home.socket or not ours(unit):
            continue
        for held in units.listens(unit.read_text("utf-8", "replace")):
            if held.name in wanted:
                cause = f"{unit.stem} holds it already ({unit})"
                hint = f"give {home.name} or {unit.stem} another `listen`"
                raise GaplessError("hold", f"{held.written} for {home.name}", cause, hint)


def refuse_in_use(config: Config, home: SystemdHome, current: str | None) -> None:
    """Refuse an address on which somebody else listens, before anything is made. Raises GaplessError."""
    own = {one.name for one in units.listens(units.installed_socket(home))} if current else set()
    found = [one for one in in_use(config.addresses) if one.name not in own]
    if found:
        cause = taken(home.ctl, found, home.socket) or f"{found[0].written} is in use"
        hint = f"give {home.name} another `listen`, or end who has that"
        raise GaplessError("hold", f"{found[0].written} for {home.name}", cause, hint)


def _refuse_accounts(home: SystemdHome) -> None:
    """Refuse what no `--existing-user` may bring about. Raises GaplessError."""
    app, builds = (Account(home, name, home.shared).user if name else None for name in (home.owner, home.builder))
    hint = "choose another `name`"
    if app and app.pw_uid == 0:
        raise GaplessError("manage", home.name, "the app would run as the superuser", hint)
    if builds and builds.pw_uid == 0:
        cause = f"its builds would run as the superuser: {home.builder} has the user number 0"
        raise GaplessError("manage", home.name, cause, hint)
    if app and builds and app.pw_uid == builds.pw_uid:
        cause = f"{home.owner} and {home.builder} are one user, and builds are to be kept from the app's data"
        raise GaplessError("manage", home.name, cause, hint)


def verify(config: Config, home: SystemdHome) -> None:
    """Let systemd itself judge the units before any is installed. Raises GaplessError with what it says."""
    texts = units.everything(config, home, "release")
    with tempfile.TemporaryDirectory(prefix="gapless-verify-") as folder:
        for name, text in texts.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        named = [name for name in texts if "/" not in name]  # a drop-in is read with its unit
        argv = ["systemd-analyze", *(["--user"] if home.user else []), "--man=no", "verify", *named]
        env = home.ctl.environment | {"SYSTEMD_UNIT_PATH": f"{folder}:"}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=folder, env=env)
    # The release is not there yet, so its programs are missing; and other people's units are not our business.
    said = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    said = [line.replace(f"{folder}/", "") for line in said if any(name in line for name in texts)]
    if said:
        cause = "systemd does not accept the units"
        raise GaplessError("install", home.name, cause, "`gapless config --units` shows them", details=tuple(said))
