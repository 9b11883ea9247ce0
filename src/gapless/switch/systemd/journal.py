"""The journal: what the instances of an app wrote, joined (journalctl(1))."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

from gapless.errors import GaplessError
from gapless.switch.systemd.names import Place, release_of

TAIL = 30  # lines of a failed candidate: enough for a traceback of an import


def tail(place: Place, invocation: str) -> tuple[str, ...]:
    """The last lines that one start of an instance wrote; nothing where there is no journal."""
    _run(place, "--sync")
    ours = f"_SYSTEMD_INVOCATION_ID={invocation}"
    done = _run(place, "--output=cat", f"--lines={TAIL}", "--no-pager", ours)
    return tuple(done.stdout.splitlines()) if done.returncode == 0 else ()


def lines(place: Place, release: str, count: int) -> list[str]:
    """The last `count` lines of every instance, process and timer of `release`, each as `<release> | line`."""
    _run(place, "--sync")
    units = _of(place, place.unit(release), place.unit(f"{release}.*"), place.other("*", release))
    done = _run(place, "--output=json", f"--lines={count}", "--no-pager", *units)
    if done.returncode != 0:
        raise GaplessError("read", "the journal", done.stderr.strip(), "root and the group systemd-journal may")
    return [line for raw in done.stdout.splitlines() if (line := _line(place, raw))]


def follow(place: Place) -> Iterator[str]:
    """New lines of every release, as they are written, until the caller stops."""
    units = _of(place, place.unit("*"), place.other("*", "*"))
    argv = _argv(place, "--output=json", "--follow", "--lines=0", *units)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None  # noqa: S101 -- for the type checker: it is a pipe
        try:
            for raw in process.stdout:
                if line := _line(place, raw):
                    yield line
        finally:
            process.kill()


def _of(place: Place, *units: str) -> list[str]:
    return [f"--{'user-unit' if place.user else 'unit'}={unit}" for unit in units]


def _line(place: Place, raw: str) -> str:
    entry = json.loads(raw)
    said = entry.get("MESSAGE")
    if isinstance(said, list):  # bytes that are no UTF-8
        said = bytes(said).decode("utf-8", "replace")
    unit = (
        entry.get("UNIT") or entry.get("USER_UNIT") or entry.get("_SYSTEMD_USER_UNIT") or entry.get("_SYSTEMD_UNIT", "")
    )
    return f"{release_of(place.instance(unit))} | {said}" if said is not None else ""


def _argv(place: Place, *argv: str) -> list[str]:
    return ["journalctl", *(["--user"] if place.user else []), "--quiet", *argv]


def _run(place: Place, *argv: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            _argv(place, *argv), capture_output=True, text=True, errors="replace", check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise GaplessError("read", "the journal", "there is no journalctl here") from None
