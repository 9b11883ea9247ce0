"""What the environment says: where the data is, and who is where."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class Failure(Exception):  # noqa: N818 -- an outcome with a sentence, no fault of the code
    """What a verb could not do, in a sentence for whoever called it."""


@dataclass(frozen=True)
class Settings:
    """`data` outlives releases; `url` is what clients reach this service by, `upstream` what wordpress.org's API is.

    `mirror` are patterns (fnmatch) of packages whose released archive is kept and served from here.
    """

    data: Path = Path("data")
    url: str = "http://127.0.0.1:8000"
    upstream: str = "https://api.wordpress.org"
    mirror: tuple[str, ...] = ()
    keep: int = 5  # builds, to go back to

    @property
    def database(self) -> Path:
        """The catalogue and the counts of installs."""
        return self.data / "wppackages.db"

    @property
    def archives(self) -> Path:
        """Archives that are served from here, each named by its SHA-1."""
        return self.data / "archives"


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from WPPACKAGES_DATA, _URL, _UPSTREAM and _MIRROR (patterns with spaces between them)."""
    default = Settings()
    return Settings(
        data=Path(environment.get("WPPACKAGES_DATA", default.data)),
        url=environment.get("WPPACKAGES_URL", default.url).rstrip("/"),
        upstream=environment.get("WPPACKAGES_UPSTREAM", default.upstream).rstrip("/"),
        mirror=tuple(environment.get("WPPACKAGES_MIRROR", "").split()),
    )
