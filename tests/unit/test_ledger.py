"""The ledger: every attempt, whatever killed its writer, and which release to go back to."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.release.ledger import SWITCH, Finished, Ledger, Outcome, Phase
from gapless.release.lock import deploy_lock


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def attempt(
    ledger: Ledger, to: str, from_: str | None = None, verb: str = "deploy", outcome: Outcome | None = Outcome.SUCCEEDED
) -> str:
    key = ledger.start(verb, "ada@host", 1000.0, from_, to, "abc1234 (main)")
    if outcome is not None:
        ledger.append(Phase(key, SWITCH, 1001.0, 2.0, outcome))
        ledger.append(Finished(key, 1003.0, outcome, "" if outcome is Outcome.SUCCEEDED else "it broke"))
    return key


def test_an_attempt_is_joined_from_its_records(ledger: Ledger) -> None:
    """What was written comes back as one entry, and the file is plain JSON lines."""
    key = attempt(ledger, "r2", "r1")
    (entry,) = ledger.entries()
    assert (entry.id, entry.verb, entry.who, entry.when) == (key, "deploy", "ada@host", 1000.0)
    assert (entry.from_, entry.to, entry.revision) == ("r1", "r2", "abc1234 (main)")
    assert [(phase.name, phase.seconds) for phase in entry.phases] == [(SWITCH, 2.0)]
    assert (entry.outcome, entry.error) == (Outcome.SUCCEEDED, "")
    lines = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    assert [line["record"] for line in lines] == ["started", "phase", "finished"]
    assert lines[0]["from"] == "r1"


def test_no_ledger_yet(ledger: Ledger) -> None:
    """Before the first deploy there are no entries."""
    assert ledger.entries() == []
    assert not ledger.bad("r1")


@pytest.mark.parametrize("torn", [b'{"record":"finis', b"\xff\xfe", b'{"record":"of tomorrow"}\n', b"\n"])
def test_a_torn_line_is_passed_over_and_never_glued(ledger: Ledger, torn: bytes) -> None:
    """Invariant 5: a killed writer's half line costs that line only, not the record after it."""
    attempt(ledger, "r1")
    with ledger.path.open("ab") as file:
        file.write(torn)
    attempt(ledger, "r2", "r1")
    assert [(entry.to, entry.outcome) for entry in ledger.entries()] == [
        ("r1", Outcome.SUCCEEDED),
        ("r2", Outcome.SUCCEEDED),
    ]


def test_a_full_disk_leaves_no_half_record(ledger: Ledger) -> None:
    """Invariant 8: a record that does not fit is reported and taken back, and the next one is whole."""
    attempt(ledger, "r1")
    size = ledger.path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(GaplessError, match="cannot write the ledger: File too large"):
            attempt(ledger, "r2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert ledger.path.stat().st_size == size
    attempt(ledger, "r3")
    assert [entry.to for entry in ledger.entries()] == ["r1", "r3"]


def test_running_and_interrupted(ledger: Ledger) -> None:
    """Invariant 5: an attempt without an end is running while its lock is held, and interrupted after that."""
    attempt(ledger, "r1", outcome=None)
    attempt(ledger, "r2", outcome=None)
    assert {entry.outcome for entry in ledger.entries()} == {Outcome.INTERRUPTED}
    with deploy_lock(ledger.home, why="deploy") as lock:
        lock.name(release="r2")
        assert [entry.outcome for entry in ledger.entries()] == [Outcome.INTERRUPTED, Outcome.RUNNING]
        assert not ledger.bad("r2")
    assert ledger.bad("r2")


def test_the_phases_of_a_killed_attempt_are_there(ledger: Ledger) -> None:
    """Invariant 5: an interrupted attempt shows how far it came."""
    key = attempt(ledger, "r1", outcome=None)
    ledger.append(Phase(key, "install", 1001.0, 0.5, Outcome.SUCCEEDED))
    (entry,) = ledger.unfinished()
    assert [phase.name for phase in entry.phases] == ["install"]
    assert not entry.switched
    ledger.append(Finished(key, 1010.0, Outcome.INTERRUPTED, "killed"))
    assert ledger.unfinished() == []


def test_bad_releases(ledger: Ledger) -> None:
    """A release is bad when its own deploy did not get it to serve; a failed rollback to it proves nothing."""
    attempt(ledger, "r1")
    attempt(ledger, "r2", "r1", outcome=Outcome.FAILED)
    attempt(ledger, "r1", "r3", "rollback", Outcome.FAILED)
    killed_late = attempt(ledger, "r4", outcome=None)
    ledger.append(Phase(killed_late, SWITCH, 1001.0, 2.0, Outcome.SUCCEEDED))
    assert [release for release in ("r1", "r2", "r4", "unknown") if ledger.bad(release)] == ["r2"]


def test_rollbacks_go_back_one_by_one(ledger: Ledger) -> None:
    """R3 goes back to R2, R2 to R1, never forward to the one that was left; then there is nothing more."""
    there = ["r1", "r2", "r3"]
    for release, previous in (("r1", None), ("r2", "r1"), ("r3", "r2")):
        attempt(ledger, release, previous)
    assert ledger.rollback_target("r3", there) == "r2"
    attempt(ledger, "r2", "r3", "rollback")
    assert ledger.rollback_target("r2", there) == "r1"
    attempt(ledger, "r1", "r2", "rollback")
    with pytest.raises(GaplessError, match="cannot roll back from r1: there is no older good release") as refused:
        ledger.rollback_target("r1", there)
    assert refused.value.hint


def test_rollback_passes_over_bad_left_and_removed_releases(ledger: Ledger) -> None:
    """Trap 11: not to one that failed, not to one rolled back from, not to one that is gone."""
    attempt(ledger, "r1")
    attempt(ledger, "r2", "r1")
    attempt(ledger, "r3", "r2")
    attempt(ledger, "r2", "r3", "rollback")  # r3 was left
    attempt(ledger, "r4", "r2", outcome=Outcome.FAILED)
    attempt(ledger, "r5", "r2")
    assert ledger.rollback_target("r5", ["r1", "r2", "r3", "r4", "r5"]) == "r2"
    assert ledger.rollback_target("r5", ["r1", "r3", "r4", "r5"]) == "r1"


def test_a_release_chosen_by_name_again_is_no_longer_left(ledger: Ledger) -> None:
    """Going forward to R3 by name takes back that it was left, and does not count as leaving R2."""
    attempt(ledger, "r1")
    attempt(ledger, "r2", "r1")
    attempt(ledger, "r3", "r2")
    attempt(ledger, "r2", "r3", "rollback")
    attempt(ledger, "r3", "r2", "rollback")
    attempt(ledger, "r4", "r3")
    assert ledger.rollback_target("r4", ["r1", "r2", "r3", "r4"]) == "r3"
    assert ledger.rollback_target("r3", ["r1", "r2", "r3", "r4"]) == "r2"


def test_a_failed_rollback_leaves_nothing(ledger: Ledger) -> None:
    """A rollback that failed has not left the release that goes on serving."""
    attempt(ledger, "r1")
    attempt(ledger, "r2", "r1")
    attempt(ledger, "r1", "r2", "rollback", Outcome.FAILED)
    attempt(ledger, "r3", "r2")
    assert ledger.rollback_target("r3", ["r1", "r2", "r3"]) == "r2"


def test_an_unreadable_ledger_is_an_error(ledger: Ledger) -> None:
    """Invariant 8: a ledger that cannot be read is not taken for an empty one."""
    os.mkdir(ledger.path)  # noqa: PTH102 - a directory in its place is what root cannot read either
    with pytest.raises(GaplessError, match="cannot read the ledger"):
        ledger.entries()
