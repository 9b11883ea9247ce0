"""The checks of `gapless doctor` that need no host."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from pathlib import Path

import pytest

from gapless import config
from gapless.doctor import command, installed, leftovers, machine, proxy
from gapless.doctor.examination import examine
from gapless.doctor.finding import Finding, State
from gapless.switch import units
from gapless.switch.manager import Instance, Role
from gapless.switch.place import Place

GB = 1_000_000_000
RELEASE = "20261124T010203Z-abc"
MADE = 1795482123.0  # its time
UNIT = {"Id": "shop@r.service", "ActiveState": "active", "NeedDaemonReload": "no", "DropInPaths": ""}


def shop(more: str = "", command: str = "gapless serve shop:app") -> config.Config:
    return config.parse(f'name = "shop"\ncommand = "{command}"\n{more}', Path("gapless.toml"))


def statvfs(free: int, of: int = 100 * GB, inodes: float = 0.5, flags: int = 0) -> os.statvfs_result:
    return os.statvfs_result((1, 1, of, free, free, 1000, int(1000 * inodes), int(1000 * inodes), flags, 255))


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (statvfs(50 * GB), State.OK),
        (statvfs(9 * GB), State.WARNING),
        (statvfs(900_000_000, 2 * GB), State.WARNING),
        (statvfs(50 * GB, inodes=0.05), State.WARNING),
        (statvfs(1 * GB), State.FAILED),
        (statvfs(100_000_000, 500_000_000), State.FAILED),
        (statvfs(50 * GB, inodes=0.01), State.FAILED),
        (statvfs(50 * GB, flags=os.ST_RDONLY), State.FAILED),
        (os.statvfs_result((1, 1, 100 * GB, 50 * GB, 50 * GB, 0, 0, 0, 0, 255)), State.OK),
    ],
)
def test_the_disk(found: os.statvfs_result, state: State) -> None:
    """Space, its share and inodes are judged by their limits; a read-only disk fails, no count of inodes is none."""
    finding = machine.space("/srv/shop", found)
    assert finding.state is state
    assert bool(finding.hint) is (state is not State.OK)


@pytest.mark.parametrize(
    ("limit", "actual", "state", "says"),
    [
        (4096, 4096, State.OK, "has 4096"),
        (65535, None, State.OK, "no listening socket"),
        (128, 128, State.WARNING, "net.core.somaxconn"),
        (4096, 100, State.WARNING, "100 long"),
    ],
)
def test_the_backlog(limit: int, actual: int | None, state: State, says: str) -> None:
    """Invariant 1: what shortens the queue of connections is named, the kernel's limit before the server."""
    finding = machine.backlog(limit, actual)
    assert (finding.state, says in finding.what) == (state, True)


def test_the_queue_is_that_of_our_sockets() -> None:
    """Of what ss says only listeners on our addresses count, and of those the shortest."""
    listing = """
tcp   LISTEN 0      511        127.0.0.1:8001      0.0.0.0:*
tcp   LISTEN 0      4096       127.0.0.1:8000      0.0.0.0:*
tcp   ESTAB  0      1          127.0.0.1:8000      127.0.0.1:50000
tcp   LISTEN 0      128            [::1]:8000         [::]:*
tcp   LISTEN 0      200                *:9000            *:*
u_str LISTEN 0      64    /run/shop.sock 4711            * 0
"""
    queue = machine.shortest_queue
    assert queue(listing, ["127.0.0.1:8000"]) == 4096
    assert queue(listing, ["127.0.0.1:8000", "[::1]:8000"]) == 128
    assert queue(listing, ["unix:/run/shop.sock"]) == 64
    assert queue(listing, ["[::]:9000"]) == 200
    assert queue(listing, ["127.0.0.1:1"]) is None


@pytest.mark.parametrize(
    ("synchronized", "now", "newest", "state"),
    [
        ("yes", MADE + 1, RELEASE, State.OK),
        ("yes", MADE + 1, None, State.OK),
        ("yes", MADE + 1, "made-by-hand", State.OK),
        ("no", MADE + 1, RELEASE, State.WARNING),
        (None, MADE + 1, RELEASE, State.UNKNOWN),
        ("yes", MADE - 60, RELEASE, State.FAILED),
    ],
)
def test_the_clock(synchronized: str | None, now: float, newest: str | None, state: State) -> None:
    """It is synchronized or there is a warning; it fails only before the newest release's time."""
    assert machine.clock(synchronized, now, newest).state is state


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("gapless serve app:app", State.OK),
        (".venv/bin/gunicorn app:app", State.OK),
        ("env A=b nice -n 5 gunicorn app:app", State.OK),
        ("sh -c 'exec gunicorn app:app'", State.OK),
        ("uv pip list", State.OK),
        ("uv run gunicorn app:app", State.FAILED),
        ("env A=b /usr/local/bin/uv run gunicorn", State.FAILED),
        ("nice npm run start", State.FAILED),
        ("npx next start", State.FAILED),
        ("make serve", State.FAILED),
        ("sudo -u shop gunicorn", State.FAILED),
        ("su shop -c gunicorn", State.FAILED),
        ("/bin/bash start.sh", State.WARNING),
        ("sh -c gunicorn", State.WARNING),
        ("poetry run gunicorn", State.WARNING),
        ("pipenv run gunicorn", State.WARNING),
    ],
)
def test_a_program_before_the_server(words: str, state: State) -> None:
    """Who forks loses LISTEN_PID; who executes does not; who may do either is a warning."""
    assert command.wrapper(config.argv(words)).state is state


def test_programs_of_a_release(tmp_path: Path) -> None:
    """A program is found in the release, by its path or in .venv/bin, and must be executable."""

    def found(name: str) -> str:
        return command.programs(shop(command=name), tmp_path, sandboxed=True, homes_hidden=False).what

    (tmp_path / ".venv/bin").mkdir(parents=True)
    for path, mode in ((tmp_path / ".venv/bin/tool", 0o755), (tmp_path / "plain", 0o644)):
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
    assert found("tool x").startswith("every program")
    assert found("gapless serve app:app").startswith("every program")
    assert found("no-such-tool x") == "there is no no-such-tool"
    assert found("./missing") == "there is no ./missing"
    assert found("./plain").endswith("is not executable")


def test_programs_that_the_sandbox_forbids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes code while it runs needs [sandbox] jit, also as a script's interpreter; homes are hidden, links into
    them, and interpreters there.
    """
    seen, home = tmp_path / "seen", tmp_path / "home"
    for path, text in {
        seen / "node": "",
        seen / "server": "#!/usr/bin/env node\n",
        seen / "php": "",
        seen / "script": f"#!{home}/python\n",
        seen / "detour": f"#!{home}/away\n",
        home / "python": "",
    }.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (seen / "link").symlink_to(home / "python")
    (home / "away").symlink_to(sys.executable)
    monkeypatch.setattr(units, "HIDDEN", (home,))

    def found(name: str, more: str = "") -> str:
        return command.programs(shop(more, name), seen, sandboxed=True, homes_hidden=True).what

    assert "node makes code" in found("./node server.js")
    assert "node makes code" in found("./server")
    assert found("./node server.js", "[sandbox]\njit = true").startswith("every program")
    assert found("./php index.php").startswith("every program")
    assert "php makes code" in found("./php -d opcache.jit=1255 index.php")
    assert str(home) in found(f"{home}/python")
    assert str(home) in found("./link")
    assert str(home) in found("./script")
    assert str(home) in found("./detour")
    assert "node makes code" in found("true", '[processes.worker]\ncommand = "./node"\n')
    alone = command.programs(shop(command="./script"), seen, sandboxed=False, homes_hidden=False)
    assert alone.state is State.OK


@pytest.mark.parametrize(
    ("block", "state"),
    [
        ("reverse_proxy localhost:8000", State.WARNING),
        ("reverse_proxy /api/* 127.0.0.1:8000 {\n\t\tlb_try_duration 5s\n\t}", State.WARNING),
        (
            "reverse_proxy {\n\t\tto http://127.0.0.1:8000\n\t\ttransport http {\n\t\t\tkeepalive 30s\n\t\t}\n\t}",
            State.OK,
        ),
        ("reverse_proxy :8000 {\n\t\ttransport http {\n\t\t\tkeepalive 1m30s\n\t\t}\n\t}", State.WARNING),
        ("reverse_proxy :8000 {\n\t\ttransport http {\n\t\t\tkeepalive off\n\t\t}\n\t}", State.OK),
        ("reverse_proxy :8000 {\n\t\ttransport http {\n\t\t\tkeepalive_interval 5s\n\t\t}\n\t}", State.WARNING),
        ("reverse_proxy unix//run/shop.sock", State.WARNING),
        ("reverse_proxy localhost:9000", None),
        ("# reverse_proxy localhost:8000", None),
        ("file_server", None),
    ],
)
def test_caddy(block: str, state: State | None) -> None:
    """Invariant 6: Caddy must give up idle connections to us before `linger`; others' are not our business."""
    text = f"shop.example {{\n\tencode gzip\n\t{block}\n}}\nother.example {{\n\treverse_proxy localhost:9000\n}}\n"
    found = proxy.caddy(text, ["127.0.0.1:8000", "unix:/run/shop.sock"], 35.0)
    assert (found and found.state) == state


def test_vital_settings(tmp_path: Path) -> None:
    """Invariant 1: a lost setting fails; the drop-in that took it away is named, an innocent one is not."""
    guilty, innocent = tmp_path / "a b.conf", tmp_path / "c.conf"
    guilty.write_text("[Service]\nNonBlocking=no\n")
    innocent.write_text("[Service]\nNice=5\n")
    good = {"NonBlocking": "yes", "StartLimitIntervalUSec": "0"}
    dropins = {"DropInPaths": f'"{guilty}" {innocent}'}

    def found(**unit: str) -> Finding:
        return installed.settings("x", Place("shop"), UNIT | good | unit, installed.SERVICE, "gapless deploy")

    assert found().state is State.OK
    assert str(innocent) in found(DropInPaths=str(innocent)).what
    bad = found(NonBlocking="no", **dropins)
    assert bad.state is State.FAILED
    assert str(guilty) in bad.what
    assert str(innocent) not in bad.what + bad.hint
    assert bad.hint == f"rm '{guilty}' && systemctl daemon-reload"
    assert found(StartLimitIntervalUSec="10s").hint == "gapless deploy"
    assert "daemon-reload" in found(NeedDaemonReload="yes").hint


def test_instances_that_should_not_run() -> None:
    """Invariant 5: one that is neither live nor retiring fails."""

    def one(role: Role) -> Instance:
        return Instance(f"r.{role}", "r", role, 1, 0.0, ready=True)

    assert leftovers.instances([one(Role.LIVE), one(Role.RETIRING)]).state is State.OK
    left = leftovers.instances([one(Role.LIVE), one(Role.CANDIDATE)])
    assert left.state is State.FAILED
    assert "r.candidate" in left.what


def test_shared_of_somebody_else(tmp_path: Path) -> None:
    """The owner, the group and others are asked in the kernel's order; a user who is not there is said."""
    tmp_path.chmod(0o755)
    assert machine.shared(tmp_path, "no-such-user").what == "there is no user no-such-user"
    assert machine.shared(tmp_path / "none", "").state is State.FAILED
    assert machine.shared(tmp_path, "").state is State.OK
    if os.getuid() == 0:
        assert machine.shared(tmp_path, "nobody").state is State.FAILED
        tmp_path.chmod(stat.S_IMODE(0o777))
        assert machine.shared(tmp_path, "nobody").state is State.OK
        os.chown(tmp_path, 65534, 0)
        tmp_path.chmod(stat.S_IMODE(0o077))
        assert machine.shared(tmp_path, "nobody").state is State.FAILED


def test_leftovers_of_the_embedded_manager(tmp_path: Path) -> None:
    """Without a supervisor everything else is still checked; during a deploy its work is no leftover."""
    (tmp_path / ".gapless/releases" / f".incoming-{RELEASE}").mkdir(parents=True)
    (tmp_path / ".gapless/current.new").symlink_to("releases/x")
    settings = shop(command=sys.executable)
    found = {one.name: one for one in examine(settings, tmp_path, None)}
    assert found["systemd"].what.startswith("not needed")
    assert found["releases"].state is found["temporaries"].state is State.WARNING
    assert found["instances"].state is State.WARNING
    assert "gapless run" in found["instances"].hint
    with (tmp_path / ".gapless/lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = {one.name: one for one in examine(settings, tmp_path, None)}
    assert found["leftovers"].state is State.OK
    assert not found.keys() & {"releases", "temporaries", "instances"}
