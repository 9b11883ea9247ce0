"""Servers that are not `gapless serve`, each with its example: real deploys under traffic on a real host."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.switch.systemd.home import SystemdHome
from tests.host.host import PROJECT, PROJECTS, Host
from tests.host.traffic import traffic
from tests.support import wait_until

PORT = 8000
KILL_GUARD = """
for process in /proc/[0-9]*; do
    ! tr '\\0' '\\n' < "$process/cmdline" | grep -qx deadman || kill -KILL "${process#/proc/}"
done
"""
# What makes each example answer 500, everywhere and on its check.
BROKEN = {
    "node": ("server.js", "response.end(", "response.statusCode = 500;\n  response.end("),
    "puma": ("config.ru", "[200, headers", "[500, headers"),
    "gunicorn": ("app.py", "200 OK", "500 Internal Server Error"),
    "go": ("server.go", "if r.URL.Path", "w.WriteHeader(500)\n\tif r.URL.Path"),
}


@pytest.fixture(scope="module", autouse=True)
def _servers(_bootable: None) -> None:
    """Their programs, on this machine: a host shows what was there when it booted."""
    subprocess.run([str(Path(__file__).with_name("requirements.sh")), "servers"], check=True, timeout=300)


@contextlib.contextmanager
def example(host: Host, server: str) -> Iterator[Path]:
    """The project of an example inside, removed with everything afterwards."""
    project = PROJECTS / server
    host.run("mkdir", "-p", str(PROJECTS))
    host.run("cp", "-r", str(PROJECT / "examples" / server), str(project))
    try:
        yield project
    finally:
        host.gapless("down", "--data", "--yes", cwd=project, timeout=120)
        host.run("rm", "-r", str(project))


def edit(host: Host, path: Path, before: str, after: str) -> None:
    text = host.read(path)
    assert before in text
    host.write(path, text.replace(before, after, 1))


def answering(host: Host) -> str:
    """The release that answers a new visitor."""
    status, headers, _ = host.get(PORT)
    assert status == 200
    return headers["gapless-release"]


@contextlib.contextmanager
def idle(host: Host) -> Iterator[None]:
    """A connection that is idle during the block: unless its server said that it closes it, it is answered after it."""
    client = http.client.HTTPConnection(host.address, PORT, timeout=20)
    client.sock = host.connect(PORT, 20)
    with contextlib.closing(client):
        first = ask(client)
        yield
        if not first.will_close:
            second = ask(client)
            assert second.headers["gapless-release"] == first.headers["gapless-release"]
            assert second.will_close


def ask(client: http.client.HTTPConnection) -> http.client.HTTPResponse:
    client.request("GET", "/")
    response = client.getresponse()
    assert response.read() == b"hello\n"
    return response


@pytest.mark.parametrize("server", BROKEN)
def test_a_server_is_deployed_without_a_loss(host: Host, server: str) -> None:
    """Invariants 1 to 4 and 6: three deploys and one that its rehearsal refuses; no request notices either."""
    home = SystemdHome(f"{server}-example")
    with example(host, server) as project:
        host.gapless("up", cwd=project, timeout=120)
        with traffic(host, PORT) as seen:
            for _ in range(3):
                seen.flows()
                with idle(host):
                    host.gapless("deploy", cwd=project, timeout=120)
            seen.flows()
            live = answering(host)
            edit(host, project / BROKEN[server][0], *BROKEN[server][1:])
            edit(host, project / "gapless.toml", 'path = "/health"', 'path = "/health"\ntimeout = "5s"')
            refused = host.gapless("deploy", cwd=project, check=False, timeout=120)
            seen.flows()
            assert answering(host) == live
        assert seen.lost == []
        assert len(seen.releases) == 4
        assert refused.returncode == 1
        assert "in its rehearsal GET /health answered 500" in refused.stdout + refused.stderr
        releases = host.run("ls", str(home.root / "releases")).stdout.split()
        assert host.journal(home.unit(releases[-1])) == ""  # it never ran on the held socket


def test_nothing_stays_of_a_killed_rehearsal(host: Host) -> None:
    """Invariant 5: its deployer is killed meanwhile; what serves goes on serving, and no unit or file is left."""
    home = SystemdHome("gunicorn-example")
    pattern = home.other("rehearsal", "*", "*")

    def left() -> str:
        units = host.run("systemctl", "list-units", "--all", "--plain", "--no-legend", pattern).stdout
        files = f"ls -d {home.volatile}/{pattern} {home.rehearsals}/*.sock 2> /dev/null || :"
        return units + host.run("sh", "-c", files).stdout

    def rehearses() -> bool:
        return "activating" in host.run("systemctl", "show", "--property=ActiveState", "--", pattern).stdout

    with example(host, "gunicorn") as project:
        host.gapless("up", cwd=project, timeout=120)
        live = answering(host)
        before = host.read(project / "app.py")
        host.write(project / "app.py", f"import time\n\ntime.sleep(600)\n{before}")
        for with_guard in (False, True):
            deployer = host.popen(sys.executable, "-m", "gapless", "deploy", cwd=project)
            wait_until(rehearses, 60)
            if with_guard:  # as when a whole session is killed
                host.run("sh", "-c", KILL_GUARD)
            deployer.kill()
            deployer.communicate(timeout=30)
            if not with_guard:
                wait_until(lambda: not left(), 60)
            assert answering(host) == live
        assert left()
        host.write(project / "app.py", before)
        host.gapless("deploy", cwd=project, timeout=120)
        assert left() == ""
        assert answering(host) != live
