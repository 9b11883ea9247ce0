"""A network of hosts, in a namespace of its own, and a controller that reaches them over SSH."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from tests.host.host import Host
from tests.host.network import Namespace, within

NETWORK = "192.0.2"  # RFC 5737: nobody's, and no route leads out of the namespace
CONTROLLER = f"{NETWORK}.1"
MAKE = f"""
ip link add lan type bridge && ip link set lan up
ip link add eth0 type veth peer name host1 && ip link set host1 master lan up
ip address add {CONTROLLER}/24 dev eth0 && ip link set eth0 up
"""
SSHD = """
rm -f /etc/ssh/ssh_host_*  # those of this machine
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
install -d -m 700 /root/.ssh
cat > /root/.ssh/authorized_keys
systemctl enable --quiet --now ssh.service
cat /etc/ssh/ssh_host_ed25519_key.pub
"""
# What somebody who calls a host by its name has written down.
CALLED = """
Host {name}
    HostName {address}
    User root
    IdentityFile {lan.key}
    UserKnownHostsFile {lan.known_hosts}
    BatchMode yes
"""


class Lan:
    """The network; its controller is this machine, whose `ssh` alone, in `programs`, is in the network.

    The hosts know the controller's key. `inventory` lists them for Ansible, each by its host name, by which `ssh` knows
    them, too.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gapless-lan-")
        self.home = Path(self._folder.name)
        self.addresses: dict[str, str] = {}
        self._attached = 0
        self.key, self.known_hosts, self.inventory = (self.home / one for one in ("key", "known_hosts", "hosts.ini"))
        self._called = self.home / "ssh_config"
        self._called.touch()
        self._network = Namespace(MAKE)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True, timeout=60)
        self.programs = self.home / "bin"
        self.programs.mkdir()
        for name in ("ssh", "sftp", "scp"):
            wrapper = self.programs / name
            there = shlex.join(self.within(shutil.which(name) or name))
            wrapper.write_text(f'#!/bin/sh\nexec {there} -F {self._called} "$@"\n')
            wrapper.chmod(0o755)

    def __enter__(self) -> Lan:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._network.close()
        self._folder.cleanup()

    def attach(self, host: Host) -> str:
        """Bring `host` into the network, and return its address. A reboot takes it out again."""
        return self.plug(host.pid)

    def plug(self, pid: int, address: str = "") -> str:
        """Bring the network of the process `pid` into this one, and return its address: a new one, or `address`."""
        if not address:
            self._attached += 1
            address = f"{NETWORK}.{9 + self._attached}"
        number = address.rpartition(".")[2]
        link = f"host{number}"
        self._inside("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self._inside("ip", "link", "set", link, "master", "lan", "up")
        _within(pid, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        _within(pid, "ip", "link", "set", "eth0", "up")
        return address

    @contextlib.contextmanager
    def unplugged(self, address: str = CONTROLLER) -> Iterator[None]:
        """The network for a while without one that is in it, who hears nothing: no answer, no refusal."""
        link = f"host{address.rpartition('.')[2]}"
        self._inside("ip", "link", "set", link, "nomaster")
        try:
            yield
        finally:
            self._inside("ip", "link", "set", link, "master", "lan")

    def join(self, host: Host, name: str) -> str:
        """Bring `host` into the network and have its systemd start sshd, which knows the controller's key.

        Returns its address.
        """
        address = self.attach(host)
        key = host.run("sh", "-e", "-c", SSHD, stdin=self.key.with_suffix(".pub").read_text()).stdout
        self.addresses[name] = address
        with self.known_hosts.open("a") as file:
            file.write(f"{address} {key}")
        with self._called.open("a") as file:
            file.write(CALLED.format(name=name, address=address, lan=self))
        with self.inventory.open("a") as file:
            options = f"-o UserKnownHostsFile={self.known_hosts} -o StrictHostKeyChecking=yes"
            file.write(
                f"{name} ansible_host={address} ansible_user=root ansible_ssh_private_key_file={self.key}"
                f" ansible_ssh_common_args='{options}' ansible_python_interpreter=/usr/bin/python3\n"
            )
        return address

    def _inside(self, *argv: str) -> str:
        return _within(self._network.pid, *argv)

    def within(self, *argv: str) -> list[str]:
        """What runs a program of the controller that reaches the hosts by itself, not through `ssh` alone."""
        return self._network.argv(*argv)

    def routes(self) -> str:
        """The routes that there are in the network."""
        return self._inside("ip", "route")

    def run(
        self,
        *argv: str,
        check: bool = True,
        timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `argv` on the controller, where `ssh` reaches the hosts; `timeout` in seconds."""
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}", **(env or {})},
            cwd=cwd or self.home,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def ssh(self, name: str, *argv: str, check: bool = True, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run `argv` on the host `name` as root, over SSH."""
        return self.run("ssh", *self._options, f"root@{self.addresses[name]}", *argv, check=check, timeout=timeout)

    def send(self, name: str, path: Path, to: str) -> None:
        """Copy the controller's file `path` to `to` on the host `name`, over SSH."""
        self.run("scp", "-q", *self._options, str(path), f"root@{self.addresses[name]}:{to}")

    @property
    def _options(self) -> tuple[str, ...]:
        return ("-i", str(self.key), "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "BatchMode=yes")


def _within(pid: int, *argv: str) -> str:
    """What a program of this machine says in the network of the process `pid`. Raises CalledProcessError."""
    return subprocess.run(within(pid, *argv), check=True, timeout=60, capture_output=True, text=True).stdout
