"""The journal: what the instances of an app wrote, joined (journalctl(1))."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

from gapless.errors import GaplessError
from gapless.linux.files import TAIL
from gapless.switch.systemd.home import SystemdHome, release_of


def tail(home: SystemdHome, invocation: str) -> tuple[str, ...]:
    """The last lines that one start of an instance wrote; nothing where there is no journal."""
    _run(home, "--sync")
    ours = f"_SYSTEMD_INVOCATION_ID={invocation}"
    done = _run(home, "--output=cat", f"--lines={TAIL}", "--no-pager", ours)
    return tuple(done.stdout.splitlines()) if done.returncode == 0 else ()


def lines(home: SystemdHome, release: str, count: int) -> list[str]:
    """The last `count` lines of every instance, process and timer of `release`, each as `<release> | line`."""
    _run(home, "--sync")
    units = _of(home, home.unit(release), home.unit(f"{release}.*"), home.other("*", release))
    done = _run(home, "--output=json", f"--lines={count}", "--no-pager", *units)
    if done.returncode != 0:
        raise GaplessError("read", "the journal", done.stderr.strip(), "root and the group systemd-journal may")
    return [line for raw in done.stdout.splitlines() if (line := _line(home, raw))]


def follow(home: SystemdHome) -> Iterator[str]:
    """New lines of every release, as they are written, until the caller stops."""
    units = _of(home, home.unit("*"), home.other("*", "*"))
    argv = _argv(home, "--output=json", "--follow", "--lines=0", *units)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None  # noqa: S101 -- for the type checker: it is a pipe
        try:
            for raw in process.stdout:
                if line := _line(home, raw):
                    yield line
        finally:
            process.kill()


def _of(home: SystemdHome, *units: str) -> list[str]:
    return [f"--{'user-unit' if home.user else 'unit'}={unit}" for unit in units]


def _line(home: SystemdHome, raw: str) -> str:
    entry = json.loads(raw)
    names = ["UNIT", "USER_UNIT", "_SYSTEMD_USER_UNIT", "_SYSTEMD_UNIT"]
    if not home.user and entry.get("_PID") != "1":
        names = ["_SYSTEMD_UNIT"]  # any program may write the others
    unit = next((_text(found) for name in names if (found := entry.get(name))), "")
    said = entry.get("MESSAGE")
    return f"{release_of(home.instance(unit))} | {_text(said)}" if said is not None else ""


def _text(field: object) -> str:
    """What journalctl says of a field: text, or the numbers of bytes that are none, or a list of several such."""
    if isinstance(field, list) and all(isinstance(one, int) for one in field):
        return bytes(field).decode("utf-8", "replace")
    return "\n".join(map(_text, field)) if isinstance(field, list) else str(field)


def _argv(home: SystemdHome, *argv: str) -> list[str]:
    return ["journalctl", *(["--user"] if home.user else []), "--quiet", *argv]


def _run(home: SystemdHome, *argv: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            _argv(home, *argv), capture_output=True, text=True, errors="replace", check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise GaplessError("read", "the journal", "there is no journalctl here") from None
