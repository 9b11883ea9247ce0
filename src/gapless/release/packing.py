"""What `gapless pack` packs: a source as a deploy finds it, less what is a host's own and what a host has already."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gapless import destination as destinations
from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.files import not_too_deep
from gapless.release import content, missing, sources
from gapless.release.artifact import Head

LONGEST = 1000  # characters of a revision
LARGEST = 128 << 20  # bytes of the list of what a host has
NO_LIST = "have `gapless releases --files --json` write it on the host, with its `-C` and `-d`"


@dataclass(frozen=True)
class Packed:
    """The `tree` that an artifact is made of; `files` are its names, `warnings` name what the release would miss."""

    tree: Path
    head: Head
    files: list[str]
    warnings: list[str]


@contextmanager
def packing(project: Path, named: str | None) -> Iterator[Packed]:
    """Give what the artifact of the source `named` (see `sources.find`) is made of; it goes with the block.

    Files of variables and secrets, whichever destination's, stay where they are. Raises GaplessError.
    """
    with tempfile.TemporaryDirectory(prefix="gapless-pack-") as folder, not_too_deep("read", str(project)):
        tree = Path(folder)
        try:
            found = sources.find(project, named)
            found.install(tree)
            configs = [destinations.load(tree, one) for one in ("", *destinations.names(tree))]
            for config in configs:
                sources.leave_out(tree, config.kept_apart)
            revision = found.revision.encode(errors="backslashreplace").decode()[:LONGEST]
            head = Head(content.digest(tree), found.short, revision)
            warnings = missing.of(tree, configs[0], project, found.left_out)
        except OSError as error:
            raise refusal("pack", str(project), error) from error
        yield Packed(tree, head, content.names(tree), warnings)


def listed(file: BinaryIO, name: str) -> dict[str, str]:
    """Read what `gapless releases --files --json` wrote. Raises GaplessError."""
    try:
        said = file.read(LARGEST + 1)
        found: Any = json.loads(said)["files"] if len(said) <= LARGEST else None
        return {one: str(hash_) for one, hash_ in found.items()}
    except OSError as error:
        raise refusal("read", name, error) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        cause = "it is not the list of a release's files" if said.strip() else "it is empty: who was to write it failed"
        raise GaplessError("read", name, cause, NO_LIST) from None
