"""What the disk refuses, said to people."""

from __future__ import annotations

import errno
import os

from gapless.errors import GaplessError

HINTS = {
    errno.ENOSPC: "free some space there (`gapless prune --keep 2` removes old ones, `df -h` shows more), then repeat",
    errno.EDQUOT: "the disk quota is used up: free some space, then repeat the command",
    errno.EROFS: "the file system is mounted read-only: `dmesg` says why; remount it read-write",
    errno.EACCES: "run the command as the user who owns that directory",
    errno.EPERM: "run the command as the user who owns that directory",
}


def refusal(operation: str, object_: str, error: OSError | LookupError) -> GaplessError:
    """Make a GaplessError of what the system refused: the cause names the file, the hint what to try."""
    if isinstance(error, LookupError):  # there is no such user
        return GaplessError(operation, object_, str(error))
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, (str, bytes)) else ""
    cause = (error.strerror or str(error)) + where
    return GaplessError(operation, object_, cause, HINTS.get(error.errno or 0, ""))
