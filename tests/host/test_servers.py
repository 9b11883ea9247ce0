"""Servers that are not `gapless serve`, each with its example: real deploys under traffic on a real host."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.switch.place import Place
from tests.host.host import PROJECT, Host
from tests.host.traffic import traffic

PORT = 8000
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
    project = Path("/root", server)
    host.run("cp", "-r", str(PROJECT / "examples" / server), str(project))
    try:
        yield project
    finally:
        host.gapless("down", "--data", "--yes", cwd=project, timeout=120)


def edit(host: Host, path: Path, before: str, after: str) -> None:
    text = host.read(path)
    assert before in text
    host.write(path, text.replace(before, after, 1))


def answering(host: Host) -> str:
    """The release that answers a new visitor."""
    status, headers, _ = host.get(PORT)
    assert status == 200
    return headers["gapless-release"]


@pytest.mark.parametrize("server", BROKEN)
def test_a_server_is_deployed_without_a_loss(host: Host, server: str) -> None:
    """Invariants 1 to 4 and 6: three deploys and one that its rehearsal refuses; no request notices either."""
    place = Place(f"{server}-example")
    with example(host, server) as project:
        host.gapless("up", cwd=project, timeout=120)
        with traffic(host, PORT) as seen:
            for _ in range(3):
                seen.flows()
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
        releases = host.run("ls", str(place.root / "releases")).stdout.split()
        assert host.journal(place.unit(releases[-1])) == ""  # it never ran on the held socket
