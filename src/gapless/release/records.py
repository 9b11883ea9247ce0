"""What the ledger records of a deploy or a rollback: one JSON document a line.

An older and a newer gapless read each other's: fields are only added, with a default, and whoever does not know a field
or a kind of record passes it over, and keeps it.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Sequence

import msgspec

SWITCH = "switch over"  # the phase that, once it succeeded, makes a release a good one
TURN_BACK = "turn back"  # the phase that, once it succeeded, makes it a bad one after all


MIGRATION = "migrate"  # the verb of an attempt that only makes a release, and migrates to it


class Outcome(enum.StrEnum):
    """How an attempt, or one phase of it, ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # killed, or stopped by Ctrl-C
    RUNNING = "running"


class Started(msgspec.Struct, frozen=True, tag="started", tag_field="record", rename={"from_": "from"}):
    """The first record of an attempt. `when` is Unix time; `from_` is the release that was current, or None."""

    attempt: str
    verb: str
    who: str
    when: float
    from_: str | None
    to: str
    revision: str


class Phase(msgspec.Struct, frozen=True, tag="phase", tag_field="record"):
    """A phase that ended: `started` is Unix time, it took `seconds`."""

    attempt: str
    name: str
    started: float
    seconds: float
    outcome: Outcome


class Finished(msgspec.Struct, frozen=True, tag="finished", tag_field="record"):
    """The last record of an attempt; `error` is empty when it succeeded, `report` when nothing was proven."""

    attempt: str
    when: float
    outcome: Outcome
    error: str
    report: str = ""


class Backup(msgspec.Struct, frozen=True, tag="backup", tag_field="record"):
    """Before the migration of an attempt: the replica of the database holds all up to the transaction `txid`."""

    attempt: str
    when: float
    txid: str


Record = Started | Phase | Finished | Backup


class Deploy(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """One attempt, joined from its records."""

    id: str
    verb: str
    who: str
    when: float
    from_: str | None
    to: str
    revision: str
    phases: list[Phase]
    outcome: Outcome
    error: str
    report: str = ""
    txid: str = ""  # what `gapless database restore --before` goes back to

    @property
    def switched(self) -> bool:
        """Whether `to` became the current release and was not turned back, however the rest went."""
        served = self._did(SWITCH) or (self.outcome is Outcome.SUCCEEDED and self.verb != MIGRATION)
        return served and not self.turned_back

    @property
    def turned_back(self) -> bool:
        """Whether `to` became the current release and `from` took its place again, as its watch found it unfit."""
        return self._did(TURN_BACK)

    def _did(self, name: str) -> bool:
        return any(phase.name == name and phase.outcome is Outcome.SUCCEEDED for phase in self.phases)

    @property
    def bad(self) -> bool:
        """Whether `to` did not become current, as was meant, or for it failed, was killed before, or turned back."""
        return not self.switched and self.outcome is not Outcome.RUNNING


class _OfAttempt(msgspec.Struct):
    """What every record has, also one that only a newer gapless knows."""

    attempt: str


def attempt_of(line: bytes) -> str:
    """The attempt that a line is about; "" where it cannot be read."""
    try:
        return msgspec.json.decode(line, type=_OfAttempt).attempt
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""  # torn by a kill


@functools.lru_cache(maxsize=1)  # a deploy asks several times, and between two deploys the file grows
def decoded(text: bytes) -> Sequence[Record]:
    """Read the records of a ledger's text; lines that cannot be read are passed over."""
    records: list[Record] = []
    decoder = msgspec.json.Decoder(Started | Phase | Finished | Backup)
    for line in text.split(b"\n"):
        try:
            records.append(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # torn by a kill, or of a newer gapless
    return tuple(records)
