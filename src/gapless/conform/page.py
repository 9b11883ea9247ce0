"""A page that shows what the battery found: one self-contained HTML file."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gapless.version import VERSION


def render(document: Mapping[str, Any]) -> str:
    """The page of a document as `--json` prints it; it needs nothing else: no script, no font, no file."""
    environment = Environment(
        loader=PackageLoader("gapless", "templates"), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(document["started_at"]))
    template = environment.get_template("conform.html")
    return template.render(**document, day=day, host=platform.node(), version=VERSION)
