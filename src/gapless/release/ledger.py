"""Every deploy and rollback ever tried: a file of records that is only ever appended to, and what they say together."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.disk import refusal
from gapless.linux.files import replace, sync
from gapless.release.lock import holder
from gapless.release.records import (
    MIGRATION,
    SWITCH,
    TURN_BACK,
    Backup,
    Deploy,
    Finished,
    Outcome,
    Phase,
    Record,
    Started,
    attempt_of,
    decoded,
)

__all__ = [
    "FOUND",
    "MADE",
    "MIGRATION",
    "SWITCH",
    "TURN_BACK",
    "Backup",
    "Deploy",
    "Finished",
    "Ledger",
    "Outcome",
    "Phase",
]

FOUND = "found"  # the verb of an entry for a release that is there, and whose own entry was lost
MADE = {"deploy", MIGRATION, FOUND}  # the verbs after which a release is there
LARGEST = 4 << 20  # bytes
KEPT = 2000  # attempts of a ledger that had grown too large


@dataclass(frozen=True)
class Ledger:
    """`home`/ledger.jsonl; written under the deploy lock only, read by anybody at any time."""

    home: Path

    @property
    def path(self) -> Path:
        return Home(self.home).ledger

    def start(self, verb: str, who: str, when: float, from_: str | None, to: str, revision: str) -> str:
        """Record that an attempt starts; returns its id. Raises GaplessError."""
        attempt = uuid.uuid4().hex[:12]
        self.append(Started(attempt, verb, who, when, from_, to, revision))
        return attempt

    def append(self, record: Record) -> None:
        """Append one record wholly, or not at all. Raises GaplessError.

        A record that ends an attempt is on disk when this returns, and with it those before. The others survive a
        kill, and more is not needed of them: each sync holds up what the live release writes.
        """
        line = msgspec.json.encode(record) + b"\n"
        try:
            new = not self.path.exists()
            with self.path.open("a+b", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                    line = b"\n" + line  # a killed writer's torn line stays a line of its own
                try:
                    while line:
                        line = line[file.write(line) :]
                    if isinstance(record, Finished):
                        os.fsync(file.fileno())
                except OSError:
                    file.truncate(size)
                    raise
            if new:
                sync(self.home)
        except OSError as error:
            raise refusal("write", "the ledger", error) from error

    def shorten(self, present: Collection[str], before: float = 0.0) -> None:
        """Forget the attempts from `before` (Unix time), and the oldest where the file is too large.

        But not those to the releases `present`. Only under the deploy lock. Raises GaplessError.
        """
        try:
            text = self._text()
            started = [one for one in decoded(text) if isinstance(one, Started)]
            too_large = len(text) > LARGEST
            recent = {one.attempt for one in (started[-KEPT:] if too_large else started) if one.when >= before}
            recent |= {one.attempt for one in started if one.to in present}
            if not too_large and len(recent) == len(started):
                return
            # As they are: a newer gapless may have written more into them than we read.
            kept = [f"{line.decode(errors='replace')}\n" for line in text.split(b"\n") if attempt_of(line) in recent]
            mode = self.path.stat().st_mode
            replace(self.path, "".join(kept))
            self.path.chmod(mode & 0o777)
        except OSError as error:
            raise refusal("shorten", "the ledger", error) from error

    def entries(self) -> list[Deploy]:
        """Every attempt, oldest first; unreadable lines are passed over. Raises GaplessError.

        Without a last record an attempt is RUNNING while the deploy lock is held for it, else INTERRUPTED.
        """
        started: dict[str, Started] = {}
        phases: dict[str, list[Phase]] = {}
        finished: dict[str, Finished] = {}
        backups: dict[str, str] = {}
        for record in self._records():
            match record:
                case Started():
                    started[record.attempt] = record
                case Phase():
                    phases.setdefault(record.attempt, []).append(record)
                case Finished():
                    finished[record.attempt] = record
                case Backup():
                    backups[record.attempt] = record.txid
        return [
            Deploy(
                *(key, first.verb, first.who, first.when, first.from_, first.to, first.revision),
                phases.get(key, []),
                finished[key].outcome if key in finished else self._unfinished(first),
                finished[key].error if key in finished else "",
                finished[key].report if key in finished else "",
                backups.get(key, ""),
            )
            for key, first in started.items()
        ]

    def _unfinished(self, attempt: Started) -> Outcome:
        held_by = holder(self.home)
        running = held_by is not None and held_by.release == attempt.to and held_by.alive
        return Outcome.RUNNING if running else Outcome.INTERRUPTED

    def unfinished(self) -> list[Deploy]:
        """The attempts without a last record: when the lock is yours, their deployers were killed."""
        ended = {record.attempt for record in self._records() if isinstance(record, Finished)}
        return [deploy for deploy in self.entries() if deploy.id not in ended]

    def _records(self) -> Sequence[Record]:
        return decoded(self._text())

    def _text(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise refusal("read", "the ledger", error) from error

    def deploys(self) -> dict[str, Deploy]:
        """What decided about each release: its last deploy, or a rollback to it that was turned back.

        Raises GaplessError.
        """
        return {entry.to: entry for entry in self.entries() if entry.verb in MADE or entry.turned_back}

    def unknown(self, present: Collection[str]) -> list[str]:
        """Name those of the releases `present` of which no entry tells: the ledger was lost, or a part of it.

        Raises GaplessError.
        """
        known = {entry.to for entry in self.entries()}
        return [release for release in present if release not in known]

    def switched_to(self) -> str | None:
        """The release that became current last; None when none did. Raises GaplessError."""
        for entry in reversed(self.entries()):
            if entry.turned_back:
                return entry.from_
            if entry.switched and entry.verb != FOUND:
                return entry.to
        return None

    def before(self, release: str) -> str:
        """The transaction up to which the replica held the database before `release` migrated it; "" is unknown."""
        return next((one.txid for one in reversed(self.entries()) if one.to == release and one.txid), "")

    def bad(self, release: str) -> bool:
        """Whether `release` never became current, for its deploy failed or was killed before, or was turned back."""
        deploy = self.deploys().get(release)
        return deploy is not None and deploy.bad

    def rollback_target(self, current: str | None, present: list[str]) -> str:
        """The release to go back to: the newest good one of `present` that was made before `current`.

        Never one that was itself rolled back from, or turned back; one that was made before has the lesser name.
        Raises GaplessError when there is none.
        """
        entries = self.entries()
        good = {entry.to for entry in entries if entry.verb in MADE and entry.switched} | {*self.unknown(present)}
        failed = {entry.to for entry in entries if entry.turned_back}
        left: set[str] = set()
        for entry in (entry for entry in entries if entry.verb == "rollback" and entry.switched):
            left.discard(entry.to)  # somebody asked for it by name again
            if entry.from_ in good and entry.to in good and entry.to < entry.from_:
                left.add(entry.from_)
        for release in sorted(good & {*present} - left - failed, reverse=True):
            if release != current and (current not in good or release < current):
                return release
        cause = "there is no older good release to go back to"
        hint = "`gapless releases` lists what there is; deploy a corrected one instead"
        raise GaplessError("roll back from", current or "nothing", cause, hint)
