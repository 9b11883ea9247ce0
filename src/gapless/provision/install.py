"""What `gapless up` makes on a host and `gapless down` removes: user, directories, the socket unit."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from gapless.address import Address
from gapless.config import Config
from gapless.errors import GaplessError
from gapless.linux.files import replace
from gapless.switch.systemd import units
from gapless.switch.systemd.names import Place, ours
from gapless.switch.systemd.systemctl import Systemctl

COMMENT = "made by gapless"  # in the passwd entry of a user of ours
OLDEST = 249  # Upholds= came with it
LONGEST = 24 * 3600.0  # seconds: every unit has a TimeoutStopSec of its own


@dataclass
class Changes:
    """What `up` has to do, in sentences; `diff` are the socket unit's lines, `closes` says what needs it closed."""

    sentences: list[str] = field(default_factory=list)
    diff: list[str] = field(default_factory=list)
    closes: str = ""
    shut: bool = False  # though a release is current: somebody stopped it, or killed an `up` that had closed it


def examine(config: Config, place: Place, current: str | None) -> Changes:
    """Compare the host with what it should be, also with a `current` release; None: nothing was deployed yet.

    Raises GaplessError when something foreign is in the way.
    """
    refuse_foreign(place)
    changes = Changes()
    if place.owner and not _user(place):
        changes.sentences.append(f"Make the system user {place.owner}.")
    changes.sentences += [f"Make {path}." for path in _directories(place) if not path.exists()]
    unit, wanted = place.units / place.socket, units.socket(config)
    before = unit.read_text("utf-8", "replace") if unit.exists() else ""
    if before != wanted:
        import difflib  # only a change pays for it

        changes.sentences.append(f"Write {unit}.")
        changes.diff = list(
            difflib.unified_diff(before.splitlines(), wanted.splitlines(), "installed", "new", "", "", 3, "")
        )
        changes.closes = moved(config, place)
    if current:
        ctl = Systemctl(place.user)
        changes.shut = ctl.show(["ActiveState"], place.socket)[0]["ActiveState"] in {"inactive", "failed"}
        changes.sentences += [f"Open {place.socket} again."] if changes.shut else []
        changes.sentences += [] if place.enabled else [f"Enable {place.socket}."]
    return changes


def moved(config: Config, place: Place) -> str:
    """Why the held socket would have to be closed: its addresses are not those of `config`; "" when they are."""
    was, now = units.listens(place), [Address.parse(written) for written in config.addresses]
    if not was or {one.name for one in was} == {one.name for one in now}:
        return ""
    before, wanted = (", ".join(one.written for one in each) for each in (was, now))
    return f"it listens on {before}, and gapless.toml says {wanted}"


def apply(config: Config, place: Place, ctl: Systemctl) -> None:
    """Make it so; repeated or resumed after a kill it does the rest. Raises GaplessError."""
    verify(config, place)
    try:
        if place.owner and not _user(place):
            _make_user(place)
        for path in _directories(place):
            _make(path, place)
        unit, wanted = place.units / place.socket, units.socket(config)
        if moved(config, place):
            ctl.do("stop", place.socket)  # first: if we are killed now, the next `up` sees that it is shut
        if replace(unit, wanted):
            ctl.do("daemon-reload")
        if place.commit.exists() and not place.enabled:  # before there is a release, the port is to stay closed
            ctl.do("enable", place.socket)
    except OSError as error:
        raise GaplessError("install", place.name, str(error), "run it as root") from error


def reopen(place: Place, ctl: Systemctl) -> None:
    """Close the held socket, let what serves drain, and open it as its unit says now; its service starts with it."""
    ctl.do("stop", place.socket)
    ctl.do("stop", place.unit("*"), timeout=LONGEST)
    ctl.do("start", place.socket)


def require_systemd(place: Place) -> None:
    """Refuse hosts without systemd, or with one that is too old for us. Raises GaplessError."""
    said = Systemctl(place.user).do("--version").split()
    version = said[1] if len(said) > 1 else "?"
    if not version.isdecimal() or int(version) < OLDEST:
        hint = "use `gapless run` (the embedded supervisor) there"
        raise GaplessError("use", "systemd", f"its version is {version}, and gapless needs {OLDEST}", hint)
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        raise GaplessError("use", "systemd", "this machine was not booted with it", "use `gapless run` there")


def verify(config: Config, place: Place) -> None:
    """Let systemd itself judge the units before any is installed. Raises GaplessError with what it says."""
    texts = units.everything(config, place, "release")
    with tempfile.TemporaryDirectory(prefix="gapless-verify-") as folder:
        for name, text in texts.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        named = [name for name in texts if "/" not in name]  # a drop-in is read with its unit
        argv = ["systemd-analyze", *(["--user"] if place.user else []), "--man=no", "verify", *named]
        env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=folder, env=env)
    # The release is not there yet, so its programs are missing; and other people's units are not our business.
    said = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    said = [line.replace(f"{folder}/", "") for line in said if any(name in line for name in texts)]
    if said:
        cause = "systemd does not accept the units"
        raise GaplessError("install", place.name, cause, "`gapless config --units` shows them", details=tuple(said))


def remove(place: Place, ctl: Systemctl, *, data: bool) -> list[str]:
    """Stop everything, in a drain, and remove what `up` and deploys made; returns what went. Raises GaplessError."""
    if (place.units / place.socket).exists():
        ctl.do("disable", "--now", place.socket)  # it goes first, or a connection starts the service again
    for pattern in place.patterns:
        ctl.do("stop", pattern, timeout=LONGEST)
    try:
        gone = _remove_units(place)
        shutil.rmtree(place.run, ignore_errors=True)
        for path in sorted(place.root.iterdir()) if place.root.exists() else []:
            if data or path not in place.home.kept:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                gone.append(str(path))
        if data and place.root.exists():
            place.root.rmdir()
        if data and (user := _user(place)) and user.pw_gecos == COMMENT:
            _run("userdel", place.owner)
            gone.append(f"the user {place.owner}")
        unit = place.units / place.socket
        if unit.exists():  # last: as long as it is there the app is installed, and a killed `down` can be repeated
            unit.unlink()
            gone.append(str(unit))
    except OSError as error:
        raise GaplessError("remove", place.name, str(error), "run it as root; it can be repeated") from error
    ctl.do("daemon-reload")
    ctl.attempt("reset-failed", place.socket, *place.patterns)
    return gone


def _remove_units(place: Place) -> list[str]:
    """Those of the releases, and the drop-ins; what went."""
    patterns = (*place.patterns, f"{place.socket}.d")
    found = [one for where in (place.units, place.volatile) for pattern in patterns for one in where.glob(pattern)]
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return [str(path) for path in found]


def _directories(place: Place) -> list[Path]:
    return [place.root, place.home.releases, place.shared, *place.home.closed]


def _make(path: Path, place: Place) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700 if path in place.home.closed else 0o750 if path == place.shared else 0o755)
    if path == place.shared and place.owner:
        shutil.chown(path, place.owner, place.owner)


def _user(place: Place) -> pwd.struct_passwd | None:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(place.owner)
    return None


def _make_user(place: Place) -> None:
    argv = ["useradd", "--system", "--no-create-home", "--home-dir", str(place.shared), "--shell", "/usr/sbin/nologin"]
    group = ["--user-group"]
    with contextlib.suppress(KeyError):
        grp.getgrnam(place.owner)
        group = ["--gid", place.owner]
    _run(*argv, *group, "--comment", COMMENT, place.owner)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GaplessError(
            "run", argv[0], done.stderr.strip() or f"it exited with status {done.returncode}", "run it as root"
        )


def refuse_foreign(place: Place) -> None:
    """Refuse a name that units, a directory or an account have which others made. Raises GaplessError."""
    # The service of the same name is what systemd would start for a socket without a release.
    names = (place.socket, f"{place.name}.service", place.unit(""))
    for directory in Systemctl(place.user).do("show", "--property=UnitPath", "--value").split():
        for unit in (Path(directory, name) for name in names):
            if unit.exists() and not ours(unit):
                hint = "choose another `name`, or remove that unit"
                raise GaplessError("manage", place.name, f"{unit} is not gapless's", hint)
    if place.home.is_foreign:
        hint = "choose another `name`, or move that directory away"
        raise GaplessError("manage", place.name, f"{place.root} is there, and not gapless's", hint)
    if place.owner and (user := _user(place)) and user.pw_uid == 0:
        raise GaplessError("manage", place.name, "the app would run as the superuser", "choose another `name`")
