"""Signals by their names."""

from __future__ import annotations

import signal


def name(number: int) -> str:
    """Name the signal `number`: "SIGKILL", or "signal 40" for one that has no name of its own (signal(7))."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
