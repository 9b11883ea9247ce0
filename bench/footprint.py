"""What a host keeps from deploy to deploy: memory, descriptors, units, processes, files; while it is at rest."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.host.host import Host

from bench.on_host import PLACE
from gapless.linux import procfs
from gapless.release import ledger
from gapless.release.room import taken

STAYING = {
    "systemd": "systemd (PID 1)",
    "systemd-journal": "journald",
    "dbus-daemon": "D-Bus",
    "systemd-logind": "logind",
}
KB, MB = 1 << 10, 1 << 20
MORE = 1.10  # the most of what it was, of bytes
SLACK = 512 * KB  # and of memory so much more
TENTH = 10
JOURNAL = 4 << 30  # bytes, the most that journald keeps unless it is told otherwise: journald.conf(5)


@dataclass(frozen=True)
class Figure:
    """One thing that stays: how it is shown, and how much more than before it may be."""

    what: str
    show: Callable[[float], str] = field(compare=False)
    allowed: Callable[[float], float] = field(compare=False)


@dataclass(frozen=True)
class Row:
    """A line of the table: the median of the first tenth after the warm-up, of the last one, and the most allowed."""

    figure: Figure
    before: float
    after: float

    @property
    def flat(self) -> bool:
        return self.after <= self.figure.allowed(self.before)


def look(host: Host) -> dict[Figure, float]:
    """Every figure of a host with the demo app on it."""
    root = Path(f"/proc/{host.pid}/root")
    found: dict[Figure, float] = {}
    for pid in (pids := _inside(host.pid)):
        name = _read(pid, "comm").strip()
        if name in STAYING:
            found[memory(f"memory of {STAYING[name]}")] = _anonymous(pid)
            found[counted(f"descriptors of {STAYING[name]}")] = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    listed = host.run("systemctl", "list-units", "--all", "--plain", "--no-legend").stdout
    found[counted("units that systemd has loaded")] = len(listed.splitlines())
    found[counted("processes")] = len(pids)
    found[counted("control groups")] = sum(1 for _ in os.walk(root / "sys/fs/cgroup"))
    home = root / PLACE.root.relative_to("/")
    own = taken(home)[0] - taken(home / "shared")[0] - _size(home / "ledger.jsonl")
    found[_bytes(f"{PLACE.root} less what follows")] = own
    found[Figure("its ledger", _megabytes, lambda _: ledger.LARGEST)] = _size(home / "ledger.jsonl")
    found[Figure("the journal", _megabytes, lambda _: JOURNAL)] = taken(root / "var/log/journal")[0]
    for where in ("srv", "run", "etc", "var", "tmp"):
        found[counted(f"files in /{where}")] = _files(root / where)
    return found


def compare(samples: Sequence[dict[Figure, float]]) -> list[Row]:
    """The last tenth of the samples beside the first one after the warm-up, which is a tenth as well."""
    size = max(len(samples) // TENTH, 1)
    early, late = samples[size : 2 * size] or samples[:1], samples[-size:]
    return [Row(one, *(statistics.median(each[one] for each in part) for part in (early, late))) for one in samples[0]]


def memory(what: str) -> Figure:
    """The figure of bytes that a process has for itself: allocators vary a little."""
    return Figure(what, _megabytes, lambda before: before * MORE + SLACK)


def _bytes(what: str) -> Figure:
    return Figure(what, _megabytes, lambda before: before * MORE)


def counted(what: str) -> Figure:
    """The figure of things that are there, of which there may not be one more."""
    return Figure(what, lambda number: f"{number:,.0f}", lambda before: before)


def _megabytes(number: float) -> str:
    return f"{number / MB:,.2f} MiB"


def _inside(first: int) -> list[int]:
    """Every process below `first`, itself included."""
    children: dict[int, list[int]] = {}
    for one in Path("/proc").glob("[1-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            children.setdefault(int(procfs.stat(int(one.name))[1]), []).append(int(one.name))
    found = [first]
    for pid in found:
        found += children.get(pid, [])
    return found


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:  # it has ended
        return ""


def _anonymous(pid: int) -> int:
    """Bytes that are neither a file's nor shared: journald maps its journal, whose limits are its own."""
    return next(int(line.split()[1]) * KB for line in _read(pid, "status").splitlines() if line.startswith("RssAnon"))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _files(tree: Path) -> int:
    """How many there are, those of the journal aside: its limits are its own."""
    return sum(len(names) + len(files) for folder, names, files in os.walk(tree) if "/log/journal" not in folder)
