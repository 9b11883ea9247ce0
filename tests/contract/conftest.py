"""Every manager that the contract suite runs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.worlds import Embedded, World


@pytest.fixture(params=["embedded"])
def world(tmp_path: Path) -> Iterator[World]:
    """A manager without any release."""
    embedded = Embedded(tmp_path / "project")
    try:
        embedded.up()
        yield embedded
    finally:
        embedded.down()
