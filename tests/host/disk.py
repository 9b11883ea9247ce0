"""The disk of a host, without room."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

from tests.host.host import Host

BALLAST = "/var/ballast"
SPARE = 1 << 20  # bytes that the disk still has before the ballast


@contextlib.contextmanager
def full(host: Host) -> Iterator[None]:
    """Leave a host no room on its disk."""
    disk = f"{host.folder}/disk"

    def resize(size: str) -> None:
        remount = ["mount", "-o", f"remount,size={size}", disk]
        subprocess.run(["nsenter", f"--target={host.holder}", "--mount", *remount], check=True, timeout=60)

    found = os.statvfs(f"/proc/{host.holder}/root{disk}")
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    resize(f"{used + SPARE}")
    try:
        host.run("sh", "-c", f"cat /dev/zero > {BALLAST}", check=False)
        yield
    finally:
        resize("50%")  # as tmpfs has it by itself
        host.run("rm", "-f", BALLAST)
