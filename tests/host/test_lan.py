"""Hosts of a network are reached as a server is: over SSH."""

from __future__ import annotations

from tests.host.host import Host
from tests.host.lan import Lan


def test_a_controller_reaches_hosts_over_ssh(fresh_host: Host, host: Host) -> None:
    """Each answers by its own address with its own key, from an sshd that its systemd started; nobody else is there."""
    with Lan() as lan:
        for name, one in (("one", fresh_host), ("two", host)):
            lan.join(one, name)
            assert lan.ssh(name, "cat", "/etc/machine-id").stdout == one.read("/etc/machine-id")
            assert lan.ssh(name, "systemctl", "is-active", "ssh.service").stdout == "active\n"
        assert "default" not in lan.routes()
