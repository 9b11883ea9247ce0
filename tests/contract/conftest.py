"""Every manager that the contract suite runs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.systemd import Systemd
from tests.contract.worlds import AnyWorld, Embedded, Scripted, World


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """A manager without any release: `pytest --manager systemd` is for inside a host (tests/host/test_contract.py)."""
    if request.config.getoption("--manager") == "systemd":
        systemd = Systemd()
        try:
            systemd.up()
            yield systemd
        finally:
            systemd.down()
        return
    embedded = Embedded(tmp_path / "project")
    try:
        embedded.up()
        yield embedded
    finally:
        embedded.down()


@pytest.fixture(params=["real", "scripted"])
def any_world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AnyWorld]:
    """That one, and the scripted manager: for tests that need neither a socket nor processes."""
    if request.param == "real":
        yield request.getfixturevalue("world")
        return
    scripted = Scripted(tmp_path / "project" / ".gapless")
    yield scripted
    scripted.down()
