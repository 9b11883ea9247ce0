"""Spans of time as people write them."""

from __future__ import annotations

import re

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse(written: object) -> float:
    """Seconds of a number, or of "250ms", "30s", "5m", "1h", "7d"; raises ValueError with a sentence for people."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", str(written).strip())
    if not match or isinstance(written, bool):
        raise ValueError(f'{written!r} is not a span of time; write it like "250ms", "30s", "5m" or 30')
    return float(match[1]) * UNITS[match[2] or "s"]


def show(seconds: float) -> str:
    """The span as a person would say it: "85 ms", "2.4 s", "3 min 20 s"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
