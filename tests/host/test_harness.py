"""The hosts that other tests rely on are what they claim to be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.host.host import PROJECT, PROJECTS, VISIBLE, BootError, Host
from tests.support import wait_until

SERVER = """
import os, socket
listener = socket.socket(fileno=3)
listener.setblocking(True)
while True:
    client, _ = listener.accept()
    client.recv(65536)
    name = os.environ["WHO"].encode()
    client.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(name), name))
    client.close()
"""
COMMANDS = r"cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\0' ' '"
SOCKET = """
[Socket]
ListenStream=127.0.0.1:8000
Service=shop@a.service
[Install]
WantedBy=sockets.target
"""
SERVICE = f"""
[Service]
Sockets=shop.socket
Environment=WHO=%i
ExecStart={sys.executable} /srv/server.py
"""


def serve(host: Host) -> None:
    host.write("/srv/server.py", SERVER)
    host.write("/etc/systemd/system/shop.socket", SOCKET)
    host.write("/etc/systemd/system/shop@.service", SERVICE)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "enable", "--now", "shop.socket")


def who(host: Host) -> str:
    status, _, body = host.get(8000)
    assert status == 200
    return body.decode()


def test_a_host_runs_systemd_as_pid_1(host: Host) -> None:
    """A command inside sees systemd as PID 1, nothing failed, and its own name, network and cgroup."""
    assert host.read("/proc/1/comm") == "systemd\n"
    assert host.run("systemctl", "is-system-running").stdout == "running\n"
    assert host.run("systemctl", "list-units", "--failed", "--quiet").stdout == ""
    assert host.read("/proc/self/cgroup").splitlines()[-1] == "0::/tests.scope"
    assert "lo:" in host.read("/proc/net/dev")
    assert len(host.read("/proc/net/dev").splitlines()) == 3


def test_gapless_runs_inside(host: Host) -> None:
    """The project's own virtual environment works inside, for root and for others, and cannot be written."""
    assert host.gapless("--version").stdout.startswith("gapless ")
    assert host.gapless("--version", user="nobody").stdout.startswith("gapless ")
    assert host.run("touch", f"{PROJECT}/x", check=False).returncode != 0


def test_what_people_keep_on_the_machine_is_not_there(fresh_host: Host) -> None:
    """Homes and /srv are those of a new machine, whatever is in them outside; the project's own places are there."""
    for folder in map(Path, ("/root", "/home", "/srv")):
        needed = {Path(one).relative_to(folder).parts[0] for one in VISIBLE if Path(one).is_relative_to(folder)}
        made = {".ssh"}  # by systemd-tmpfiles(8), while it boots
        assert set(fresh_host.run("ls", "-A", str(folder)).stdout.split()) - made == needed
    assert fresh_host.run("ls", "-d", str(PROJECTS), check=False).returncode != 0


def test_the_machine_stays_as_it_is(host: Host, tmp_path: Path) -> None:
    """What is written inside is not seen outside, neither on the disk nor in /tmp, /run or /dev, where all is fresh."""
    assert host.run("test", "-e", str(tmp_path), check=False).returncode == 1
    for folder in ("/etc", "/var/lib", "/tmp", "/run", "/dev", "/dev/shm"):  # noqa: S108
        path = f"{folder}/written-by-{host.pid}"
        host.write(path, "inside")
        assert host.read(path) == "inside"
        assert not Path(path).exists()
    assert host.run("sh", "-c", "echo 1 > /proc/sys/vm/swappiness", check=False).returncode != 0


def test_a_command_gets_its_own_environment(host: Host) -> None:
    """Only what a test names reaches a command; its directory, input and exit status are what the test said."""
    said = host.run("sh", "-c", "echo $A:$HOME:$USER:$PWD:${PYTEST_CURRENT_TEST-none}", env={"A": "b"}, cwd="/srv")
    assert said.stdout == "b:/root:root:/srv:none\n"
    assert host.run("false", check=False).returncode == 1
    with pytest.raises(AssertionError, match="false ended with 1"):
        host.run("false")


@pytest.mark.parametrize("user", ["", "nobody"])
def test_a_command_dies_with_its_process(host: Host, user: str) -> None:
    """kill() on what popen returned is a SIGKILL of the command inside."""
    process = host.popen("sh", "-c", "echo up; exec sleep 4711", user=user)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    assert "sleep 4711" in host.run("sh", "-c", COMMANDS).stdout
    process.kill()
    process.communicate(timeout=30)
    wait_until(lambda: "sleep 4711" not in host.run("sh", "-c", COMMANDS).stdout, 30)


def test_the_journal_of_a_unit_can_be_read(host: Host) -> None:
    """What a unit prints is in its journal."""
    host.run("systemd-run", "--wait", "--unit=speaker", "echo", "good morning")
    assert "good morning" in host.journal("speaker.service")
    assert "good morning" in host.journal()


def test_an_ordinary_user_has_a_manager(host: Host) -> None:
    """A user who lingers runs units with systemctl --user."""
    host.run("useradd", "--create-home", "--user-group", "lingerer")
    host.run("loginctl", "enable-linger", "lingerer")
    uid = host.run("id", "-u", "lingerer").stdout.strip()
    host.run("systemctl", "start", f"user@{uid}.service")
    unit = "/home/lingerer/.config/systemd/user/greeter.service"
    host.write(unit, "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=touch %h/greeted\n")
    host.run("chown", "-R", "lingerer:lingerer", "/home/lingerer/.config")
    host.run("systemctl", "--user", "daemon-reload", user="lingerer")
    host.run("systemctl", "--user", "start", "greeter", user="lingerer")
    assert host.run("systemctl", "--user", "is-active", "greeter", user="lingerer").stdout == "active\n"
    assert host.run("stat", "--format=%U", "/home/lingerer/greeted").stdout == "lingerer\n"


def test_two_services_share_a_socket(host: Host) -> None:
    """A held socket starts its service on traffic, and a second service answers on it once the first has stopped."""
    serve(host)
    assert who(host) == "a"
    host.run("systemctl", "start", "shop@b.service")
    assert host.run("systemctl", "is-active", "shop@a", "shop@b").stdout == "active\nactive\n"
    host.run("systemctl", "stop", "shop@a.service")
    assert who(host) == "b"
    with host.connect(8000) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(65536).endswith(b"b")


def test_a_power_cut_keeps_the_disk_and_loses_run(fresh_host: Host) -> None:
    """After a power cut the host boots from its disk: files, enabled units and journal are there, /run and /tmp new."""
    serve(fresh_host)
    assert who(fresh_host) == "a"
    for folder in ("/srv", "/run", "/tmp", "/dev/shm"):  # noqa: S108
        fresh_host.write(f"{folder}/mark", "before")
    before = fresh_host.pid
    fresh_host.run("systemd-run", "--wait", "echo", "before the cut")
    fresh_host.journal()
    fresh_host.kill_power()
    assert not Path(f"/proc/{before}").exists()
    fresh_host.boot()
    assert fresh_host.read("/srv/mark") == "before"
    for folder in ("/run", "/tmp", "/dev/shm"):  # noqa: S108
        assert fresh_host.run("test", "-e", f"{folder}/mark", check=False).returncode == 1
    assert "before the cut" in fresh_host.journal()
    assert who(fresh_host) == "a"


def test_nothing_is_left_of_a_closed_host(fresh_host: Host) -> None:
    """close() leaves no process, mount or file, also of commands that still run, and can be repeated."""
    folder, pid = fresh_host.folder, fresh_host.pid
    namespace = Path(f"/proc/{pid}/ns/pid").stat().st_ino
    with fresh_host.popen("sleep", "1000") as sleeper:
        fresh_host.close()
    assert sleeper.returncode != 0
    assert not folder.exists()
    assert str(folder) not in Path("/proc/mounts").read_text()
    for process in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            assert process.stat().st_ino != namespace
        except FileNotFoundError:
            continue  # it ended meanwhile
    fresh_host.close()


def test_a_failed_boot_says_why_and_leaves_nothing(fresh_host: Host) -> None:
    """A host that cannot boot raises what it logged, and its close() clears up all the same."""
    fresh_host.write("/etc/machine-id", "")
    fresh_host.run("rm", "-r", "/lib/systemd/system")
    fresh_host.kill_power()
    with pytest.raises(BootError, match=r"multi-user\.target"):
        fresh_host.boot()
    fresh_host.close()
    assert not fresh_host.folder.exists()
