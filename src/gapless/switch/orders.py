"""What an instance says of itself on its private socket; and orders to stand by, to pause, or to serve again."""

from __future__ import annotations

import json
from typing import Any

from gapless.linux.unix_http import PAUSE_PATH, RESUME_PATH, STAND_BY_PATH, STATUS_PATH, get, post

TIMEOUT = 3.0  # seconds: a server that needs longer is no quick way back


def status(private: str, timeout: float) -> dict[str, Any] | None:
    """The status document; None of a server that has none, or does not answer within `timeout` seconds.

    Raises nothing.
    """
    try:
        _, _, body = get(private, STATUS_PATH, "localhost", timeout)
        document = _document(body)
    except (OSError, ValueError, RecursionError):  # the last of JSON that is nested without an end
        return None
    return document if "state" in document else None


def stand_by(private: str) -> bool:
    """True once the instance accepts no more connections, but stays; False if it cannot, or does not know how.

    A silent server costs `TIMEOUT` seconds; then it may still obey later. Raises nothing.
    """
    return _order(private, STAND_BY_PATH, "standing by")


def pause(private: str) -> bool:
    """As `stand_by`, and nothing is read from connections that wait for a request, either. Raises nothing."""
    return _order(private, PAUSE_PATH, "paused")


def is_quiet(status: dict[str, Any] | None) -> bool:
    """Whether an instance that is paused says so, and that it has finished what it had accepted."""
    told = status or {}
    return told.get("state") == "paused" and told.get("requests") == 0 and told.get("connections") == told.get("held")


def resume(private: str) -> bool:
    """Order the instance to accept connections again; returns whether it did. Raises nothing."""
    return _order(private, RESUME_PATH, "serving")


def _order(private: str, path: str, state: str) -> bool:
    if status(private, TIMEOUT) is None:
        return False  # not ours: what a POST would do there, nobody knows
    try:
        code, _, body = post(private, path, "localhost", TIMEOUT)
        return code == 200 and _document(body).get("state") == state
    except (OSError, ValueError, RecursionError):
        return False


def _document(body: bytes) -> dict[str, Any]:
    """The JSON object; empty for any other JSON. Raises ValueError for what is none."""
    document = json.loads(body)
    return document if isinstance(document, dict) else {}
