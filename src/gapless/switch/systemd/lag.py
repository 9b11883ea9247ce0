"""How far a replica is behind its database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gapless.switch.systemd import database
from gapless.switch.systemd.litestream import Litestream

ROUND = 120.0  # seconds: a checkpoint writes, a minute later at most, what is in the replica already


@dataclass(frozen=True)
class Lag:
    """The last transactions that Litestream has read (`local`), and that the replica holds, written at `replica_at`.

    `seconds` lie between the last write to the database and that; None where there is no replica.
    """

    local: str
    replica: str
    replica_at: float
    seconds: float | None


def lag(one: Litestream) -> Lag:
    """Ask the replica. Raises GaplessError."""
    points = one.reached()
    local, written = one.local(), database.written(one.path)
    if not points:
        return Lag(local, "", 0.0, None)
    last = max(points, key=lambda point: str(point["max_txid"]))
    at = datetime.fromisoformat(str(last["timestamp"])).timestamp()
    behind = max(written - at, 0.0)
    level = str(last["max_txid"]) >= local and one.runs and behind <= ROUND
    return Lag(local, str(last["max_txid"]), at, 0.0 if level else behind)
