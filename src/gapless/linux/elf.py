"""Programs as the kernel reads them, elf(5)."""

from __future__ import annotations

import struct
from pathlib import Path

from gapless.linux.files import open_regular

MAGIC = b"\x7fELF\x02\x01"  # of 64 bits, the least significant first
STACK, EXECUTABLE = 0x6474E551, 1  # PT_GNU_STACK, PF_X
MOST = 64  # program headers: it may be no program at all


def has_executable_stack(path: Path) -> bool:
    """Whether the program at `path` asks for a stack that can be executed; no, where it cannot be read."""
    try:
        with open_regular(path) as file:
            head = file.read(64)
            if len(head) < 64 or not head.startswith(MAGIC):
                return False
            [start] = struct.unpack_from("<Q", head, 32)
            size, count = struct.unpack_from("<HH", head, 54)
            file.seek(start)
            headers = file.read(size * min(count, MOST))
    except (OSError, ValueError):
        return False
    kinds = [struct.unpack_from("<II", headers, at) for at in range(0, len(headers) - 7, max(size, 8))]
    return any(kind == STACK and flags & EXECUTABLE for kind, flags in kinds)
