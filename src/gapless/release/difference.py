"""Whether a deploy would change anything: what the current release does not have as its source and settings do.

Names alone, never a value of the environment: what is said here goes into logs.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from gapless import environment
from gapless.config.settings import Config
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
    before, after = (_flat(msgspec.to_builtins(one, enc_hook=float)) for one in (target.home.config(current), config))
    settings = [f"setting {key}" for key in before | after if before.get(key) != after.get(key)]
    read = making.reader(target, project)
    return settings + environment.differences(target.home.root, current, config, project, read)


def _flat(table: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict) and f"{prefix}{key}" not in {"env", "secrets"}:  # environment.py compares these
            found |= _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, dict):
            found[f"{prefix}{key}"] = value
    return found
