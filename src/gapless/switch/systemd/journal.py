"""The journal: what the instances of an app wrote, joined (journalctl(1))."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator

from gapless.errors import GaplessError
from gapless.linux.files import TAIL
from gapless.switch.app import Lines
from gapless.switch.systemd.home import SystemdHome, release_of

SYNC = 2.0  # seconds: who floods the journal keeps it from ever being in step, and any local user can
FIELDS = ("MESSAGE", "UNIT", "USER_UNIT", "_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT", "_PID")
LONGEST = 1 << 16  # characters of a message; journalctl itself leaves out fields of more than 4 KiB
LONG = "(a message of more than 4 KiB: `journalctl --output=cat` shows it)"


def tail(home: SystemdHome, invocation: str) -> tuple[str, ...]:
    """The last lines that one start of an instance wrote; nothing where there is no journal."""
    _synchronize(home)
    with contextlib.suppress(GaplessError):
        found = _read(home, TAIL, f"_SYSTEMD_INVOCATION_ID={invocation}")
        return tuple(line for entry in found for line in _said(entry).splitlines())[-TAIL:]
    return ()


def lines(home: SystemdHome, release: str, wanted: Lines) -> list[str]:
    """The `wanted` lines of every instance, process and timer of `release`, each as `<release> | line`.

    Of a message of several lines that matches, all of them: a traceback is one.
    """
    _synchronize(home)
    units = _of(home, home.unit(release), home.unit(f"{release}.*"), home.other("*", release))
    # With both a pattern and a number it begins with the newest, journalctl(1): so it does always.
    entries = reversed(_read(home, wanted.most, "--reverse", *_chosen(wanted), *units))
    said = [line for entry in entries if (line := _line(home, entry))]
    return "\n".join(said).split("\n")[-wanted.most :] if said else []


def follow(home: SystemdHome, wanted: Lines) -> Iterator[str]:
    """New lines of every release, as they are written, until the caller stops."""
    units = _of(home, home.unit("*"), home.other("*", "*"))
    with _started(home, "--follow", "--lines=0", *_chosen(Lines(0, pattern=wanted.pattern)), *units) as process:
        assert process.stdout is not None  # noqa: S101 -- for the type checker: it is a pipe
        try:
            for raw in process.stdout:
                if line := _line(home, json.loads(raw)):
                    yield line
        finally:
            process.kill()


def _chosen(wanted: Lines) -> list[str]:
    since = [f"--since=@{wanted.since:.6f}"] if wanted.since is not None else []
    return [*since, *([f"--grep={wanted.pattern}"] if wanted.pattern else [])]


def _of(home: SystemdHome, *units: str) -> list[str]:
    return [f"--{'user-unit' if home.user else 'unit'}={unit}" for unit in units]


def _line(home: SystemdHome, entry: dict[str, object]) -> str:
    names = ["UNIT", "USER_UNIT", "_SYSTEMD_USER_UNIT", "_SYSTEMD_UNIT"]
    if not home.user and entry.get("_PID") != "1":
        names = ["_SYSTEMD_UNIT"]  # any program may write the others
    unit = next((_text(found) for name in names if (found := entry.get(name))), "")
    before = f"{release_of(home.instance(unit))} | "  # of each line: else an app could write one of another release
    return "\n".join(before + line for line in _said(entry).split("\n")) if "MESSAGE" in entry else ""


def _said(entry: dict[str, object]) -> str:
    if "MESSAGE" not in entry:
        return ""
    return LONG if entry["MESSAGE"] is None else _text(entry["MESSAGE"])[:LONGEST]


def _text(field: object) -> str:
    """What journalctl says of a field: text, or the numbers of bytes that are none, or a list of several such."""
    if isinstance(field, list) and all(isinstance(one, int) for one in field):
        return bytes(field).decode("utf-8", "replace")
    return "\n".join(map(_text, field)) if isinstance(field, list) else LONG if field is None else str(field)


def _synchronize(home: SystemdHome) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired), _started(home, "--sync") as process:
        try:
            process.wait(SYNC)
        finally:
            process.kill()


def _read(home: SystemdHome, count: int, *what: str) -> list[dict[str, object]]:
    """The last `count` entries. One after the other: an app may have said more than fits into memory twice."""
    with _started(home, f"--lines={count}", *what, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 -- for the type checker: it is a pipe
        assert process.stderr is not None  # noqa: S101
        found = [json.loads(raw) for raw in process.stdout]
        said = process.stderr.read()
    if process.returncode != 0 and said.strip():  # a pattern that nothing matches is a failure without a word
        raise GaplessError("read", "the journal", said.strip(), "root and the group systemd-journal may")
    return found


def _started(home: SystemdHome, *argv: str, stderr: int | None = None) -> subprocess.Popen[str]:
    asked = ["--quiet", "--no-pager", "--output=json", f"--output-fields={','.join(FIELDS)}", *argv]
    try:
        return subprocess.Popen(
            ["journalctl", *(["--user"] if home.user else []), *asked],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,  # each entry ends at a line feed: what else ends a line for Python, an app may say inside
            errors="replace",
        )
    except FileNotFoundError:
        raise GaplessError("read", "the journal", "there is no journalctl here") from None
