"""Run a program that another user can stop, or have say anything: its time and its words have an end."""

from __future__ import annotations

import errno
import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence

PART = 1 << 16  # bytes that are read at a time


def ask(
    argv: Sequence[str], *, within: float, largest: int, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `argv` for at most `within` seconds, and take at most `largest` bytes of what it says, both streams.

    Raises OSError, ETIMEDOUT or EFBIG, where it goes beyond; then it is killed.
    """
    deadline = time.monotonic() + within
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=env) as process:
        try:
            said = _heard(process, deadline, largest)
            process.wait(max(deadline - time.monotonic(), 0))
        except (subprocess.TimeoutExpired, TimeoutError):
            raise OSError(errno.ETIMEDOUT, f"it took longer than {within:g} s") from None
        finally:
            process.kill()  # nothing, where it has ended
    out, err = (one.decode("utf-8", "replace") for one in said)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _heard(process: subprocess.Popen[bytes], deadline: float, largest: int) -> list[bytes]:
    """Both streams to their ends."""
    said = {stream: bytearray() for stream in (process.stdout, process.stderr) if stream}
    with selectors.DefaultSelector() as waiting:
        for stream in said:
            waiting.register(stream, selectors.EVENT_READ, said[stream])
        while waiting.get_map():
            ready = waiting.select(max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                part = os.read(key.fd, PART)
                key.data.extend(part)
                if not part:
                    waiting.unregister(key.fileobj)
            if sum(map(len, said.values())) > largest:
                raise OSError(errno.EFBIG, f"it said more than {largest >> 20} MiB")
    return [bytes(one) for one in said.values()]
