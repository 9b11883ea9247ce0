"""An artifact comes in over a stream: all of it is there, and not too much, before a deploy begins with it."""

from __future__ import annotations

import os
import select
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from gapless import destination as destinations
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.release import artifact, copying, sources
from gapless.release.archive import open_tar
from gapless.release.attempt import Target
from gapless.release.budget import PART, Budget

IDLE = 120.0  # seconds without a byte
LONGEST = 3600.0  # seconds in all
GZIP, MAGIC = 16 + zlib.MAX_WBITS, b"\x1f\x8b"
NAME = "the artifact on standard input"
SEND = "`gapless pack | ssh HOST gapless deploy - -C DIRECTORY`"
SEND_AGAIN = "see what the sender said, and send it again"


@contextmanager
def receiving(target: Target, config: Config, stream: int) -> Iterator[sources.Source]:
    """Read an artifact from the descriptor `stream` to its end; gives the Source of a release of the app in `config`.

    Nothing is left of it after the block, or when the process is killed. Raises GaplessError.
    """
    if os.isatty(stream):
        raise GaplessError("receive", NAME, "that is a terminal", SEND, status=2)
    root = target.home.root
    with ExitStack() as stack:
        try:
            spool = stack.enter_context(tempfile.TemporaryFile(dir=root if root.is_dir() else None))
            _spool(stream, spool)
        except OSError as error:
            raise refusal("receive", NAME, error) from error
        yield _source(target, config, spool)


def _source(target: Target, config: Config, spool: IO[bytes]) -> sources.Source:
    with open_tar(spool, NAME) as archive:
        head = artifact.head(archive)
    if head is None:
        raise _no_artifact()

    def install(tree: Path) -> None:
        current = target.manager.current()
        with open_tar(spool, NAME) as archive:
            artifact.install(archive, head, tree, target.store.path(current) if current else None)
        _refuse_another(destinations.load(tree, target.destination), config)
        copying.open_directories(tree)

    return sources.Source(NAME, head.short, head.revision, install)


def _spool(stream: int, spool: IO[bytes]) -> None:
    """Write what comes decompressed. Raises GaplessError where that is not whole, or too much or too slow; OSError."""
    unpacked = zlib.decompressobj(GZIP)
    budget = Budget(lambda cause: GaplessError("receive", NAME, cause, "deploy less"))
    deadline = time.monotonic() + LONGEST
    came = 0
    while part := _part(stream, deadline):
        if unpacked.eof:
            raise GaplessError("receive", NAME, "something follows its end", SEND_AGAIN)
        if not came and not part.startswith(MAGIC[: len(part)]):
            raise _no_artifact()
        came += len(part)
        try:
            whole = b""
            while part or len(whole) == PART:  # then there may be more, though nothing is left to read
                whole = unpacked.decompress(part, PART)
                budget.spend(len(whole))
                spool.write(whole)
                part = unpacked.unconsumed_tail
        except zlib.error as error:
            raise GaplessError("receive", NAME, f"it is damaged: {error}", SEND_AGAIN) from error
        if unpacked.unused_data:
            raise GaplessError("receive", NAME, "something follows its end", SEND_AGAIN)
    if not came:
        raise GaplessError("receive", NAME, "it is empty: who was to pack it failed", SEND)
    if not unpacked.eof:
        raise GaplessError("receive", NAME, f"it ended too early, after {came:,} bytes", SEND_AGAIN)
    spool.flush()


def _part(stream: int, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise GaplessError("receive", NAME, f"it took more than {LONGEST / 60:g} minutes", SEND_AGAIN)
    if not select.select([stream], [], [], min(IDLE, left))[0]:
        raise GaplessError("receive", NAME, f"nothing came for {min(IDLE, left):.0f} s", SEND_AGAIN)
    return os.read(stream, PART)


def _no_artifact() -> GaplessError:
    return GaplessError("receive", NAME, "it is nothing that `gapless pack` has packed", SEND, status=2)


def _refuse_another(found: Config, config: Config) -> None:
    """Refuse the release of another project than the one in whose directory the command runs. Raises GaplessError."""
    if found.name != config.name:
        hint = f"pass `-C` with the directory of {found.name} there"
        raise GaplessError("deploy", found.name, f"the artifact is not of {config.name}", hint, status=2)
    if found.id and config.id and found.id != config.id:
        cause = f"the artifact is of another project: its id is {found.id}, and there it is {config.id}"
        raise GaplessError("deploy", found.name, cause, "pass `-C` with the other project's directory there", status=2)
