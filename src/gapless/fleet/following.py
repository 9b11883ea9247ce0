"""What a command goes on printing on several hosts: by ssh alone, since Ansible has it when the command is over."""

from __future__ import annotations

import queue
import shlex
import subprocess
import threading
from collections.abc import Iterator, Sequence

from gapless.fleet.hosts import Host
from gapless.fleet.play import SSH


def follow(hosts: Sequence[Host], argv: Sequence[str]) -> Iterator[tuple[Host, str]]:
    """Each line with its host, as it comes, until the command is over on all of them."""
    lines = queue.Queue[tuple[Host, str | None]]()
    running = list[subprocess.Popen[str]]()
    try:
        for host in hosts:
            running.append(_started(host, argv))
            threading.Thread(target=_read, args=(host, running[-1], lines), daemon=True).start()
        left = len(running)
        while left:
            host, line = lines.get()
            if line is None:
                left -= 1
            else:
                yield host, line
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _started(host: Host, argv: Sequence[str]) -> subprocess.Popen[str]:
    # With a terminal of its own the command ends there when the connection does.
    words = ["ssh", "-tt", *shlex.split(SSH), *shlex.split(host.ssh)[1:], shlex.join(argv)]
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is ours to answer
    )


def _read(host: Host, process: subprocess.Popen[str], lines: queue.Queue[tuple[Host, str | None]]) -> None:
    assert process.stdout is not None  # noqa: S101 -- it is a pipe
    for line in process.stdout:
        lines.put((host, line.rstrip("\r\n")))
    lines.put((host, None))
