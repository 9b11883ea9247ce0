"""The checks of `gapless doctor` that need no host."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gapless import config
from gapless.config.settings import Config, argv
from gapless.doctor import command, installed, leftovers, machine, other_proxies, proxy, sandbox
from gapless.doctor.examination import examine
from gapless.doctor.finding import Finding, Severity
from gapless.switch.embedded.app import EmbeddedApp
from gapless.switch.manager import Instance, Role
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome
from gapless.version import maker

GB = 1_000_000_000
RELEASE = "20261124T010203Z-abc"
MADE = 1795482123.0  # its time
UNIT = {"Id": "shop@r.service", "ActiveState": "active", "NeedDaemonReload": "no", "DropInPaths": ""}


def shop(more: str = "", command: str = "gapless serve shop:app") -> Config:
    return config.parse(f'name = "shop"\ncommand = "{command}"\n{more}', Path("gapless.toml"))


def with_stack(program: bytes, flags: int) -> bytes:
    """A program whose stack has these flags, elf(5): 7 can be executed, too."""
    header = struct.pack("<I", 0x6474E551)
    at = program.index(header, 64)
    return program[: at + 4] + struct.pack("<I", flags) + program[at + 8 :]


def statvfs(free: int, of: int = 100 * GB, inodes: float = 0.5, flags: int = 0) -> os.statvfs_result:
    return os.statvfs_result((1, 1, of, free, free, 1000, int(1000 * inodes), int(1000 * inodes), flags, 255))


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (statvfs(50 * GB), Severity.OK),
        (statvfs(9 * GB), Severity.WARNING),
        (statvfs(900_000_000, 2 * GB), Severity.WARNING),
        (statvfs(50 * GB, inodes=0.05), Severity.WARNING),
        (statvfs(1 * GB), Severity.FAILED),
        (statvfs(100_000_000, 500_000_000), Severity.FAILED),
        (statvfs(50 * GB, inodes=0.01), Severity.FAILED),
        (statvfs(50 * GB, flags=os.ST_RDONLY), Severity.FAILED),
        (os.statvfs_result((1, 1, 100 * GB, 50 * GB, 50 * GB, 0, 0, 0, 0, 255)), Severity.OK),
    ],
)
def test_the_disk(found: os.statvfs_result, state: Severity) -> None:
    """Space, its share and inodes are judged by their limits; a read-only disk fails, no count of inodes is none."""
    finding = machine.space("/srv/shop", found)
    assert finding.state is state
    assert bool(finding.hint) is (state is not Severity.OK)


@pytest.mark.parametrize(
    ("limit", "actual", "state", "says"),
    [
        (4096, 4096, Severity.OK, "has 4096"),
        (65535, None, Severity.OK, "no listening socket"),
        (128, 128, Severity.WARNING, "net.core.somaxconn"),
        (4096, 100, Severity.WARNING, "100 long"),
    ],
)
def test_the_backlog(limit: int, actual: int | None, state: Severity, says: str) -> None:
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
        ("yes", MADE + 1, RELEASE, Severity.OK),
        ("yes", MADE + 1, None, Severity.OK),
        ("yes", MADE + 1, "made-by-hand", Severity.OK),
        ("no", MADE + 1, RELEASE, Severity.WARNING),
        (None, MADE + 1, RELEASE, Severity.UNKNOWN),
        ("yes", MADE - 2, RELEASE, Severity.OK),  # deploys that follow one another at once
        ("yes", MADE - 61, RELEASE, Severity.FAILED),
    ],
)
def test_the_clock(synchronized: str | None, now: float, newest: str | None, state: Severity) -> None:
    """It is synchronized or there is a warning; it fails only before the newest release's time."""
    assert machine.clock(synchronized, now, newest).state is state


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("gapless serve app:app", Severity.OK),
        (".venv/bin/gunicorn app:app", Severity.OK),
        ("env A=b nice -n 5 gunicorn app:app", Severity.OK),
        ("sh -c 'exec gunicorn app:app'", Severity.OK),
        ("uv pip list", Severity.OK),
        ("uv run gunicorn app:app", Severity.FAILED),
        ("env A=b /usr/local/bin/uv run gunicorn", Severity.FAILED),
        ("nice npm run start", Severity.FAILED),
        ("npx next start", Severity.FAILED),
        ("make serve", Severity.FAILED),
        ("sudo -u shop gunicorn", Severity.FAILED),
        ("su shop -c gunicorn", Severity.FAILED),
        ("/bin/bash start.sh", Severity.WARNING),
        ("sh -c gunicorn", Severity.WARNING),
        ("poetry run gunicorn", Severity.WARNING),
        ("pipenv run gunicorn", Severity.WARNING),
    ],
)
def test_a_program_before_the_server(words: str, state: Severity) -> None:
    """Who forks loses LISTEN_PID; who executes does not; who may do either is a warning."""
    assert command.wrapper(argv(words)).state is state


def test_limits_that_another_server_does_not_know() -> None:
    """[serve] bounds visitors of `gapless serve` alone: set for another server, it is a warning that says so."""
    limit = '[serve]\nhead_timeout = "10s"\n'
    assert command.limits(shop(limit)).state is Severity.OK
    assert command.limits(shop("", "gunicorn app:app")).state is Severity.OK
    found = command.limits(shop(limit, "gunicorn app:app"))
    assert found.state is Severity.WARNING
    assert found.hint == "set the server's own limits, and take [serve] out of gapless.toml"
    assert command.limits(shop("", "gunicorn --timeout 10 app:app")).state is Severity.OK


def test_programs_of_a_release(tmp_path: Path) -> None:
    """A program is found in the release, by its path or in .venv/bin, and must be executable."""

    def found(name: str) -> str:
        return command.programs(shop(command=name), tmp_path, units.PATH, sandboxed=True, homes_hidden=False).what

    (tmp_path / ".venv/bin").mkdir(parents=True)
    for path, mode in ((tmp_path / ".venv/bin/tool", 0o755), (tmp_path / "plain", 0o644)):
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
    assert found("tool x").startswith("every program")
    assert found("gapless serve app:app").startswith("every program")
    assert found("no-such-tool x") == "there is no no-such-tool"
    assert found("./missing") == "there is no ./missing"
    assert found("./plain").endswith("is not executable")
    for hook, what in (
        ('["./plain"]', f"{tmp_path}/plain is not"),
        ('["tool"]', "every"),
        ('"./plain | cat"', "every"),
    ):
        read = shop(f"hooks = {{ deployed = {hook} }}", "tool x")
        said = command.programs(read, tmp_path, units.PATH, sandboxed=True, homes_hidden=False)
        assert said.what.startswith(what)


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
        return command.programs(shop(more, name), seen, units.PATH, sandboxed=True, homes_hidden=True).what

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
    interpreter = seen / "python"
    interpreter.write_bytes(with_stack(Path(sys.executable).read_bytes(), 7))
    interpreter.chmod(0o755)
    assert "asks for an executable stack" in found("./python server.py")
    assert found("./python server.py", "[sandbox]\njit = true").startswith("every program")
    interpreter.write_bytes(with_stack(Path(sys.executable).read_bytes(), 6))
    assert found("./python server.py").startswith("every program")
    alone = command.programs(shop(command="./script"), seen, os.defpath, sandboxed=False, homes_hidden=False)
    assert alone.state is Severity.OK


@pytest.mark.parametrize(
    ("block", "wrong"),
    [
        ("reverse_proxy localhost:8000", ["2 min 0 s", "tries once", "WebSockets"]),
        ("reverse_proxy /api/* 127.0.0.1:8000 {\n LB\n}", ["2 min 0 s", "WebSockets"]),
        ("reverse_proxy {\n to http://127.0.0.1:8000\n LB\n BRIEF\n stream_close_delay 1m\n}", []),
        ("reverse_proxy :8000 {\n LB\n transport http {\n keepalive 1m30s\n}\n}", ["90.0 s", "WebSockets"]),
        ("reverse_proxy :8000 {\n LB\n transport http {\n keepalive off\n}\n}", ["WebSockets"]),
        ("reverse_proxy :8000 {\n LB\n transport http {\n keepalive_interval 5s\n}\n}", ["2 min 0 s", "WebSockets"]),
        ("reverse_proxy :8000 {\n LB\n BRIEF\n stream_close_delay 1m\n fail_duration 30s\n}", ["fail_duration"]),
        ("reverse_proxy unix//run/shop.sock {\n LB\n}", ["2 min 0 s", "WebSockets"]),
        ("reverse_proxy localhost:9000", None),
        ("# reverse_proxy localhost:8000", None),
        ("file_server", None),
    ],
)
def test_caddy(tmp_path: Path, block: str, wrong: list[str] | None) -> None:
    """Invariant 6: what Caddy itself says of its configuration is judged; others' sites are not our business."""
    block = block.replace("LB", "lb_try_duration 5s").replace("BRIEF", "transport http {\n keepalive 30s\n}")
    text = f"shop.example {{\n encode gzip\n {block}\n}}\nother.example {{\n reverse_proxy localhost:9000\n}}\n"
    (tmp_path / "Caddyfile").write_text(text)
    argv = [str(Path(sys.executable).with_name("caddy")), "adapt", "--config", str(tmp_path / "Caddyfile")]
    adapted = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    found = proxy.judge(adapted, (2, 11), ["127.0.0.1:8000", "unix:/run/shop.sock"], 35.0)
    if wrong is None:
        assert found is None
        return
    assert found is not None
    assert found.state is (Severity.WARNING if wrong else Severity.OK)
    told = ("2 min 0 s", "90.0 s", "fail_duration", "tries once", "WebSockets")
    assert [one for one in told if one in found.what] == wrong


@pytest.mark.parametrize(
    ("block", "kept"),
    [
        ("server 127.0.0.1:8000; keepalive 16;", "60.0 s"),
        ("server unix:/run/shop.sock; keepalive 16; keepalive_timeout 1m30s;", "90.0 s"),
        ("server localhost:8000; keepalive 16; keepalive_timeout 30s;", "less than linger"),
        ("server localhost:8000; # keepalive 16;", None),
        ("server localhost:9000; keepalive 16;", None),
    ],
)
def test_nginx(block: str, kept: str | None) -> None:
    """Invariant 6: nginx keeps connections of an upstream block for 60 s where nothing else is said."""
    lines = block.replace("; ", ";\n")
    text = f"http {{ upstream shop {{ {lines}\n }} }}"
    found = other_proxies.nginx(text, ["127.0.0.1:8000", "unix:/run/shop.sock"], 35.0)
    assert (kept is not None and kept in found.what) if found else kept is None


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("server shop 127.0.0.1:8000", "less than linger"),
        ("server shop unix@/run/shop.sock pool-purge-delay 1m", "60.0 s"),
        ("server shop 127.0.0.1:8000 pool-purge-delay 90000", "90.0 s"),
        ("server shop 127.0.0.1:9000 pool-purge-delay 1h", None),
    ],
)
def test_haproxy(line: str, kept: str | None) -> None:
    """Invariant 6: haproxy keeps idle connections for the delay after which it purges them."""
    found = other_proxies.haproxy(f"backend shop\n    {line}\n", ["127.0.0.1:8000", "unix:/run/shop.sock"], 35.0)
    assert (kept is not None and kept in found.what) if found else kept is None


def test_vital_settings(tmp_path: Path) -> None:
    """Invariant 1: a lost setting fails; the drop-in that took it away is named, an innocent one is not."""
    guilty, innocent = tmp_path / "a b.conf", tmp_path / "c.conf"
    guilty.write_text("[Service]\nNonBlocking=no\n")
    innocent.write_text("[Service]\nNice=5\n")
    good = {"NonBlocking": "yes", "StartLimitIntervalUSec": "0"}
    dropins = {"DropInPaths": f'"{guilty}" {innocent}'}

    def found(**unit: str) -> Finding:
        return installed.settings("x", SystemdHome("shop"), UNIT | good | unit, installed.SERVICE, "gapless deploy")

    assert found().state is Severity.OK
    assert str(innocent) in found(DropInPaths=str(innocent)).what
    bad = found(NonBlocking="no", **dropins)
    assert bad.state is Severity.FAILED
    assert str(guilty) in bad.what
    assert str(innocent) not in bad.what + bad.hint
    assert bad.hint == f"rm '{guilty}' && systemctl daemon-reload"
    assert found(StartLimitIntervalUSec="10s").hint == "gapless deploy"
    assert "daemon-reload" in found(NeedDaemonReload="yes").hint


def test_units_of_another_gapless(tmp_path: Path) -> None:
    """Made by another one is a warning; with what it starts gone the release could not start again, which is worse."""
    program = tmp_path / "gapless"
    program.touch()
    for by, there, state in (
        (maker(), True, Severity.OK),
        ("gapless 0.0 (/x)", True, Severity.WARNING),
        ("gapless", True, Severity.WARNING),
        ("gapless 0.0 (/x)", False, Severity.FAILED),
    ):
        text = f'# Made by {by} for release R; ...\nExecStart="{program}" "serve"\n'
        if not there:
            program.unlink()
        found = installed.maker(SystemdHome("shop"), "shop@R.service", text)
        assert found.state is state, found
        assert (found.hint != "") is (state is not Severity.OK)


def test_instances_that_should_not_run() -> None:
    """Invariant 5: one that is neither live nor retiring fails."""

    def one(role: Role) -> Instance:
        return Instance(f"r.{role}", "r", role, 1, 0.0, ready=True)

    assert leftovers.instances([one(Role.LIVE), one(Role.RETIRING)]).state is Severity.OK
    left = leftovers.instances([one(Role.LIVE), one(Role.CANDIDATE)])
    assert left.state is Severity.FAILED
    assert "r.candidate" in left.what


def test_shared_of_somebody_else(tmp_path: Path) -> None:
    """The owner, the group and others are asked in the kernel's order; a user who is not there is said."""
    tmp_path.chmod(0o755)
    assert machine.shared(tmp_path, "no-such-user").what == "there is no user no-such-user"
    assert machine.shared(tmp_path / "none", "").state is Severity.FAILED
    assert machine.shared(tmp_path, "").state is Severity.OK
    if os.getuid() == 0:
        assert machine.shared(tmp_path, "nobody").state is Severity.FAILED
        tmp_path.chmod(stat.S_IMODE(0o777))
        assert machine.shared(tmp_path, "nobody").state is Severity.OK
        os.chown(tmp_path, 65534, 0)
        tmp_path.chmod(stat.S_IMODE(0o077))
        assert machine.shared(tmp_path, "nobody").state is Severity.FAILED


def test_leftovers_of_the_embedded_manager(tmp_path: Path) -> None:
    """Without a supervisor everything else is still checked; during a deploy its work is no leftover."""
    (tmp_path / ".gapless/releases" / f".incoming-{RELEASE}").mkdir(parents=True)
    (tmp_path / ".gapless/current.new").symlink_to("releases/x")
    settings = shop(command=sys.executable)
    found = {one.name: one for one in examine(settings, tmp_path, EmbeddedApp(tmp_path))}
    assert found["systemd"].what.startswith("not needed")
    assert found["releases"].state is found["temporaries"].state is Severity.WARNING
    assert found["instances"].state is Severity.WARNING
    assert "gapless run" in found["instances"].hint
    with (tmp_path / ".gapless/lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = {one.name: one for one in examine(settings, tmp_path, EmbeddedApp(tmp_path))}
    assert found["leftovers"].state is Severity.OK
    assert not found.keys() & {"releases", "temporaries", "instances"}


def test_limits_that_the_kernel_does_not_know(tmp_path: Path) -> None:
    """Who writes a limit hears where it does nothing; who writes none hears nothing."""
    home = SystemdHome("shop")
    assert machine.limits(shop(), home) == []
    listing = tmp_path / "cgroup.controllers"
    assert machine.controllers({"memory"}, listing).state is Severity.WARNING
    listing.write_text("cpu pids\n")
    found = machine.controllers({"memory", "cpu"}, listing)
    assert (found.state, "for memory here" in found.what) == (Severity.WARNING, True)
    listing.write_text("cpu memory pids\n")
    assert machine.controllers({"memory", "cpu"}, listing).state is Severity.OK
    assert len(machine.limits(shop('limits = { memory = "1G" }'), home)) == 1


def test_what_the_sandbox_refused_or_will(tmp_path: Path) -> None:
    """Lines of the log, less the release before each, and numba in the release's packages; the setting mends both."""
    (tmp_path / ".venv/lib/python3.11/site-packages/llvmlite").mkdir(parents=True)
    said = [f"{RELEASE} | OSError: [Errno 1] cannot allocate executable memory. This may be …"]
    for jit, state in ((False, [Severity.WARNING] * 2), (True, [])):
        allowed = shop(f"[sandbox]\njit = {str(jit).lower()}").sandbox
        found = sandbox.refused(said, allowed) + sandbox.packages(tmp_path, allowed)
        assert [one.state for one in found] == state
        assert {one.hint for one in found} <= {"in gapless.toml: [sandbox] jit = true"}
        assert not any(RELEASE in one.what for one in found)


def test_one_family_alone_is_told_where_the_server_may_not_take_both() -> None:
    """`gapless serve` gets a socket for each; of another server it is not known: doctor says what to write."""
    for served_by, listen, missing in (
        ("gapless serve a:b", '"[::]:80"', ""),
        ("node a.js", '"[::]:80"', "0.0.0.0:80"),
        ("node a.js", '"localhost:80"', "[::1]:80"),
        ("node a.js", '["[::]:80", "0.0.0.0:80"]', ""),
        ("node a.js", '"127.0.0.1:80"', ""),
    ):
        found = command.families(shop(f"listen = {listen}", served_by))
        assert [one.what.partition(": ")[0] for one in found] == ([f"nobody listens on {missing}"] if missing else [])
        for one in found:  # the advice, followed
            assert command.families(shop(one.hint.partition(", if ")[0], served_by)) == []
