"""What a check found, and how to mend it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # it serves, but not as well or as surely as it could
    FAILED = "failed"  # requests get lost, or the next deploy fails
    UNKNOWN = "unknown"  # it could not be seen: by this user, or on this machine


@dataclass(frozen=True)
class Finding:
    """One check: `what` says what was found, `hint` what mends it (empty when all is well)."""

    name: str
    state: Severity
    what: str
    hint: str = ""
