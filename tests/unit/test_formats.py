"""What gapless writes down or says to itself is read by an older and by a newer one: each passes over what it lacks."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gapless.errors import GaplessError
from gapless.release import ledger as ledgers
from gapless.release.hold import Hold, hold
from gapless.release.ledger import Ledger, Outcome
from gapless.switch import orders, pause
from gapless.switch.embedded import control, records
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.manager import Instance, Started

# As the first gapless wrote them, which had nothing but these.
STARTED = {"record": "started", "attempt": "a", "verb": "deploy", "who": "ada@host", "when": 1.0, "from": None}
ATTEMPT = [
    STARTED | {"to": "r1", "revision": ""},
    {"record": "phase", "attempt": "a", "name": "switch over", "started": 1.0, "seconds": 1.0, "outcome": "succeeded"},
    {"record": "finished", "attempt": "a", "when": 2.0, "outcome": "succeeded", "error": ""},
]
INSTANCE = {"id": "r1.1", "release": "r1", "role": "live", "pid": 1, "since": 1.0, "ready": True}
NEWER = {"of_a_newer_one": [1, {"deep": None}]}


def lines(*documents: dict[str, Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in documents)


def test_a_ledger_of_an_older_and_of_a_newer_gapless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are read alike; a record and a field that are unknown are kept where the ledger is shortened."""
    ledger = Ledger(tmp_path)
    ledger.path.write_text(lines(*ATTEMPT))
    [old] = ledger.entries()
    newer = [one | NEWER for one in ATTEMPT] + [{"record": "healed", "attempt": "a"} | NEWER]
    ledger.path.write_text(lines(*newer))
    assert ledger.entries() == [old]
    assert old.outcome is Outcome.SUCCEEDED
    monkeypatch.setattr(ledgers, "LARGEST", 0)
    ledger.shorten(["r1"])
    assert ledger.path.read_text() == lines(*newer)


def test_the_control_socket_between_two_versions() -> None:
    """A supervisor passes over fields that it does not know, a deployer what an answer has more, or has not yet."""
    asked = {"verb": "start", "release": "r1", "timeout": 1.0} | NEWER
    assert msgspec.convert(asked, control.Request) == control.Start("r1", 1.0)
    answer = {"instance": INSTANCE | NEWER, "readiness": "ready"} | NEWER
    assert msgspec.convert(answer, Started).instance == msgspec.convert(INSTANCE, Instance)
    assert msgspec.convert({"pid": 1, "since": 1.0, "sockets": {}} | NEWER, control.About).version == ""


def test_who_holds_deploys_and_who_paused(tmp_path: Path) -> None:
    """Both files are read with less, and with more, in them."""
    home = EmbeddedHome(tmp_path)
    home.hold.write_text(json.dumps({"who": "ada"} | NEWER))
    assert hold(home.root) == Hold("ada")
    on = pause.of(replace(msgspec.convert(INSTANCE, Instance), pid=os.getpid()), 60, "ada")
    home.pause.write_text(json.dumps(msgspec.to_builtins(on) | NEWER))
    assert pause.read(home) == on


def test_the_record_of_an_instance(tmp_path: Path) -> None:
    """Invariant 11: one that a newer gapless extended is adopted; one that cannot be read is kept, and said so."""
    home = EmbeddedHome(tmp_path)
    home.run.mkdir()
    record = records.Record(id="r1.1", release="r1", since=1.0, drain=1.0, private="", sockets={}).of(os.getpid())
    records.write(home, record)
    [path] = home.run.iterdir()
    written = json.loads(path.read_text())
    path.write_text(json.dumps(written | NEWER))
    assert records.running(home) == [record]
    path.write_text(json.dumps(written | {"state": "of a newer one"}))
    with pytest.raises(GaplessError, match="a newer gapless may have written it") as refused:
        records.running(home)
    assert refused.value.hint == "use the gapless that wrote it: what serves goes on meanwhile"
    path.write_text(json.dumps(written))  # as we are the one that wrote it
    assert records.running(home) == [record]


@pytest.mark.parametrize("status", [{"state": "serving"}, {"state": "serving", "requests": 0} | NEWER])
def test_the_status_document(status: dict[str, Any]) -> None:
    """The private socket's document has been JSON with a state from the first; every other key may be missing."""
    assert not orders.is_quiet(status)
