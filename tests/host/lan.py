"""A network of hosts, in a namespace of its own, and a controller that reaches them over SSH."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.host.host import Host

NETWORK = "192.0.2"  # RFC 5737: nobody's, and no route leads out of the namespace
HOLD = f"""
ip link set lo up && ip link add lan type bridge && ip address add {NETWORK}.1/24 dev lan && ip link set lan up
echo ready
exec cat > /dev/null
"""
SSHD = """
rm -f /etc/ssh/ssh_host_*  # those of this machine
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
install -d -m 700 /root/.ssh
cat > /root/.ssh/authorized_keys
systemctl enable --quiet --now ssh.service
cat /etc/ssh/ssh_host_ed25519_key.pub
"""


class Lan:
    """The network; its controller is this machine, whose `ssh` alone, in `programs`, is in the network.

    The hosts know the controller's key. `inventory` lists them for Ansible, each by its host name.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gapless-lan-")
        self.home = Path(self._folder.name)
        self.addresses: dict[str, str] = {}
        self._attached = 0
        self.key, self.known_hosts, self.inventory = (self.home / one for one in ("key", "known_hosts", "hosts.ini"))
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-e", "-c", HOLD],
            stdin=subprocess.PIPE,  # its end, even by our own death, ends the namespace
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True, timeout=60)
        self.programs = self.home / "bin"
        self.programs.mkdir()
        for name in ("ssh", "sftp", "scp"):
            wrapper = self.programs / name
            wrapper.write_text(f'#!/bin/sh\nexec nsenter --target={self._holder.pid} --net {shutil.which(name)} "$@"\n')
            wrapper.chmod(0o755)

    def __enter__(self) -> Lan:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait(60)
        self._folder.cleanup()

    def attach(self, host: Host) -> str:
        """Bring `host` into the network, and return its address. A reboot takes it out again."""
        self._attached += 1
        number = 9 + self._attached
        address = f"{NETWORK}.{number}"
        link = f"host{number}"
        self._inside("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
        self._inside("ip", "link", "set", link, "master", "lan", "up")
        host.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        return address

    def join(self, host: Host, name: str) -> str:
        """Bring `host` into the network and have its systemd start sshd, which knows the controller's key.

        Returns its address.
        """
        address = self.attach(host)
        key = host.run("sh", "-e", "-c", SSHD, stdin=self.key.with_suffix(".pub").read_text()).stdout
        self.addresses[name] = address
        with self.known_hosts.open("a") as file:
            file.write(f"{address} {key}")
        with self.inventory.open("a") as file:
            options = f"-o UserKnownHostsFile={self.known_hosts} -o StrictHostKeyChecking=yes"
            file.write(
                f"{name} ansible_host={address} ansible_user=root ansible_ssh_private_key_file={self.key}"
                f" ansible_ssh_common_args='{options}' ansible_python_interpreter=/usr/bin/python3\n"
            )
        return address

    def _inside(self, *argv: str) -> str:
        argv = ("nsenter", f"--target={self._holder.pid}", "--net", *argv)
        return subprocess.run(argv, check=True, timeout=60, capture_output=True, text=True).stdout

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
