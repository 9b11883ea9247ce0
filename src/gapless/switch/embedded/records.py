"""What is written down about a running instance, so that a new supervisor finds the instances of a killed one."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import msgspec

from gapless.errors import GaplessError
from gapless.linux import procfs
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.states import InstanceState


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One instance. `since` is Unix time, `drain` seconds, `started` clock ticks since the boot `boot`.

    An older or a newer gapless may have written it: fields are only added, with a default.
    """

    id: str
    release: str
    since: float
    drain: float
    private: str
    sockets: dict[str, int]  # address as written → inode of the held socket
    state: InstanceState = InstanceState.BOOTING
    pid: int = 0
    started: int = 0
    boot: str = ""

    def of(self, pid: int) -> Record:
        """Return a copy of this record with pid, start time and boot of process `pid`; raises OSError for none."""
        return msgspec.structs.replace(self, pid=pid, started=procfs.started(pid), boot=procfs.boot())

    def runs(self) -> bool:
        """Whether the very process of this record still runs (a zombie does not)."""
        return procfs.lives(self.pid, self.started) and procfs.boot() == self.boot


def write(home: EmbeddedHome, record: Record) -> None:
    """Write the record atomically. It need not survive a crash of the machine: the instance does not either."""
    fresh = _path(home, record.id).with_suffix(".tmp")
    fresh.write_bytes(msgspec.json.encode(record))
    fresh.rename(_path(home, record.id))


def erase(home: EmbeddedHome, record: Record) -> None:
    """Forget an instance that is gone, its private socket, and the directory that it had for itself."""
    shutil.rmtree(home.runtime(record.id), ignore_errors=True)
    _path(home, record.id).unlink(missing_ok=True)
    Path(record.private).unlink(missing_ok=True)


def running(home: EmbeddedHome) -> list[Record]:
    """The records of instances that still run, oldest first; the others are erased.

    Raises GaplessError for what is a record, but none that this gapless can read.
    """
    found = []
    for path in home.run.glob("*.instance"):
        with contextlib.suppress(FileNotFoundError):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=Record)
            except msgspec.ValidationError as error:
                hint = "use the gapless that wrote it: what serves goes on meanwhile"
                raise GaplessError("read", str(path), f"a newer gapless may have written it: {error}", hint) from error
            except (msgspec.DecodeError, UnicodeDecodeError):
                path.unlink()  # torn by a crash of the machine: its instance did not survive that either
                continue
            if record.runs():
                found.append(record)
            else:
                erase(home, record)
    return sorted(found, key=lambda record: record.since)


def _path(home: EmbeddedHome, instance: str) -> Path:
    # A release id may contain dots: no with_suffix on it.
    return home.run / f"{instance}.instance"
