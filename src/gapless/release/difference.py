"""Whether a deploy would change anything: what the current release does not have as its source and settings do.

Names alone, never a value of the environment: what is said here goes into logs.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from gapless import environment
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.disk import refusal
from gapless.release import making
from gapless.release.attempt import Target


def of_files(target: Target, current: str, digest: str) -> list[str]:
    """Say whether the content `digest` (see content.py) is another than that of the release `current`.

    Raises GaplessError.
    """
    file = target.home.content(current)
    try:
        same = file.read_text("utf-8") == digest
    except FileNotFoundError:
        return [f"files: nobody wrote down what {current} was made of"]  # an older gapless made it
    except OSError as error:
        raise refusal("read", str(file), error) from error
    return [] if same else [f"files: they are not those of {current}"]


def of_settings(target: Target, current: str, config: Config, project: Path) -> list[str]:
    """Name the settings, variables and secrets that `config`, in `project`, does not share with the release `current`.

    Raises GaplessError, as a deploy would for a file that is missing.
    """
    settings = _of_configs(target.home.config(current), config)
    read = making.reader(target, project)
    return settings + environment.differences(target.home.root, current, config, project, read)


def made_of(home: Home, release: str) -> str | None:
    """Read the digest of what a release was made of: an artifact's id; None where that cannot be seen."""
    try:
        return home.content(release).read_text("utf-8") or None
    except OSError:  # an older gapless made the release, or only root may read that
        return None


def between(home: Home, before: str, after: str) -> list[str] | None:
    """Name the files, settings, variables and secrets in which two releases differ; None where that cannot be seen."""
    if not os.access(home.env, os.R_OK | os.X_OK):
        return None
    try:
        digests = [home.content(one).read_text("utf-8") for one in (before, after)]
        files = ["files"] if len({*digests}) > 1 else []
        settings = _of_configs(home.config(before), home.config(after))
        return [*files, *settings, *environment.between(home.root, before, after)]
    except (GaplessError, OSError):  # an older gapless made one, or it is damaged, as doctor says
        return None


def _of_configs(one: Config, other: Config) -> list[str]:
    before, after = (_flat(msgspec.to_builtins(each, enc_hook=float)) for each in (one, other))
    return [f"setting {key}" for key in before | after if before.get(key) != after.get(key)]


def _flat(table: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict) and f"{prefix}{key}" not in {"env", "secrets"}:  # environment.py compares these
            found |= _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, dict):
            found[f"{prefix}{key}"] = value
    return found
