"""Real hosts for the attacks below here, as tests/host has them, and what no attack may have touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.conftest import _bootable, host
from tests.host.host import Host

__all__ = ["_bootable", "host"]

HERE = Path(__file__).parent
PROOF = "/proof"  # a directory where anybody may write who he is
# Of the files that decide who is root: whose they are, and what root's own entry says.
ROOTS = r"""
stat -c '%n %U:%G %a' /etc/passwd /etc/shadow /etc/group /etc/sudoers /etc/ld.so.cache /bin/sh /root
grep -h '^root:' /etc/passwd /etc/shadow /etc/group
find /root /etc/cron.d /etc/sudoers.d /etc/profile.d -printf '%p %U:%G %m %T@\n' | sort
find /srv /run/gapless /tmp /var/tmp /opt/gapless-tests ! -type l -perm /6000 -print 2> /dev/null | sort
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test waits for may include systemd's installation, and two tries of a boot for a minute each."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(autouse=True)
def roots(host: Host) -> Iterator[None]:
    """What is root's before an attack is so after it, and nothing of an attacker's ran as root."""
    host.run("sh", "-c", f"mkdir -p {PROOF}; chmod 777 {PROOF}; : > {PROOF}/ran; chmod 666 {PROOF}/ran")
    before = host.run("sh", "-c", ROOTS, check=False).stdout
    yield
    assert host.run("test", "-e", "/root/pwned", check=False).returncode == 1
    assert host.run("sh", "-c", ROOTS, check=False).stdout == before
    assert [line for line in host.read(f"{PROOF}/ran").splitlines() if line.split()[-1] == "0"] == []
