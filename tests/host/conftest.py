"""Real hosts for the tests below here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.wppackages.conftest import clients as clients  # a fixture
from tests.host.host import ForbiddenError, Host, install_requirements

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test waits for may include systemd's installation, and two tries of a boot for a minute each."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def _bootable() -> None:
    if os.geteuid() != 0:
        pytest.skip("a host of its own needs root")
    install_requirements()


@pytest.fixture(scope="session")
def _proxies(_bootable: None) -> None:
    """Caddy, nginx and haproxy, which hosts then have as this machine has them."""
    subprocess.run([str(HERE / "requirements.sh"), "proxies"], check=True, timeout=300)


def _boot() -> Host:
    try:
        return Host()
    except ForbiddenError as error:
        pytest.skip(f"this machine forbids hosts of our own: {error}")


@pytest.fixture(scope="module")
def host(_bootable: None) -> Iterator[Host]:
    """A host that the tests of one file share; they leave it working."""
    with _boot() as one:
        yield one


@pytest.fixture
def fresh_host(_bootable: None) -> Iterator[Host]:
    """A host for one test, which may reboot or break it."""
    with _boot() as one:
        yield one
