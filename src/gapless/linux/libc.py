"""The C library, for what os does not have."""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, path: str = "") -> int:
    """Return the `result` of a function of the C library; raises OSError, with the `path`, where that is negative."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), *([path] if path else []))
    return result
