"""Invariant 10: everything of a release runs in one way; what differs is in docs/environment.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gapless import programs
from gapless.config.settings import Config
from gapless.home import Home
from gapless.release.news import Facts
from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing
from tests.support import GAPLESS, wait_until
from tests.view import SHOW, differences, found

CONFIG = f"""
env_file = ".env"
env = {{ WORD = "hello" }}
limits = {{ memory = "2G", cpu = 1.5 }}
[build]
run = ["{sys.executable}", "show.py"]
env = {{ PIP_INDEX_URL = "https://packages.example.com/simple", WORD = "built" }}
[release]
migrate = ["{sys.executable}", "show.py"]
[hooks]
before_deploy = ["{sys.executable}", "show.py"]
[processes.worker]
command = "{sys.executable} show.py /{{shared}}/process stay"
[timers.tick]
command = "{sys.executable} show.py /{{shared}}/timer"
calendar = "*:*:*"
"""
APP = "import json, os, show; open(os.environ['GAPLESS_SHARED'] + '/server', 'w').write(json.dumps(show.show()))"
# Of the shell of whoever deploys: a host's administrator, or a unit.
SHELL = {
    "TOKEN_OF_ROOT": "secret", "VIRTUAL_ENV": "/root/venv", "PYTHONPATH": "/root", "LD_PRELOAD": "", "TMPDIR": "/root",
    "http_proxy": "http://10.0.0.1:3128", "PIP_INDEX_URL": "https://root.example.com", "LANG": "de_DE.UTF-8",
    "NOTIFY_SOCKET": "/run/nobody", "LISTEN_FDS": "1", "LISTEN_PID": "1", "XDG_RUNTIME_DIR": "/run/user/0",
}  # fmt: skip
# What systemd says to each unit of itself.
OF_UNIT = {
    *("INVOCATION_ID", "SYSTEMD_EXEC_PID", "JOURNAL_STREAM", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"),
    *("TRIGGER_UNIT", "TRIGGER_TIMER_REALTIME_USEC", "TRIGGER_TIMER_MONOTONIC_USEC"),  # to a timer's
}
# And LISTEN_*, which `gapless serve` does not keep.
SERVER = {
    *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
    *programs.for_server(Home(Path()), Config(name="shop", command="x"), "private", "runtime"),
}
HOOK = {f"GAPLESS_{name.upper()}" for name in Facts.__struct_encode_fields__}
OF_BUILDERS = {"UV_PYTHON_INSTALL_DIR", "POETRY_VIRTUALENVS_IN_PROJECT"}
BUILD = {
    *("HOME", "USER", "LOGNAME", "RUNTIME_DIRECTORY", "PIP_INDEX_URL", "WORD"),
    *("UV_PYTHON_CACHE_DIR", "UV_LINK_MODE", *OF_BUILDERS),
}


@pytest.fixture
def seen(host: Host) -> Iterator[dict[str, dict[str, Any]]]:
    """What each kind of program of one release finds around itself."""
    with leaving_nothing(Shop(host, "shop", 8000)) as shop:
        shop.write(config=CONFIG.replace("/{shared}", "/srv/shop/shared"), app=APP)
        host.write(f"{shop.project}/show.py", SHOW)
        host.write(f"{shop.project}/.env", "PATH=/opt/tools:/usr/bin:/bin\nWEIGHT=heavy\n")
        host.run(*GAPLESS, "up", cwd=shop.project, env=SHELL)
        unit = f"shop@{shop.current()}.service"
        assert (shop.show(unit, "MemoryMax"), shop.show(unit, "CPUQuotaPerSecUSec")) == (str(2 << 30), "1.500000s")
        assert not [line for line in host.journal().splitlines() if "gnoring" in line and "shop" in line]
        log = host.read(f"/srv/shop/log/{shop.current()}.log").split("found ")
        done = host.run(*GAPLESS, "exec", "--", sys.executable, "show.py", cwd=shop.project, env=SHELL)
        views = {"build": found(log[1]), "hook": found(log[2]), "migration": found(log[3])}
        views["exec"] = found(done.stdout)
        for kind in ("server", "process", "timer"):
            path = f"/srv/shop/shared/{kind}"
            wait_until(lambda path=path: host.run("test", "-s", path, check=False).returncode == 0, 20, path)  # type: ignore[misc]
            views[kind] = json.loads(host.read(path))
        yield views


def test_all_of_a_release_sees_the_same(seen: dict[str, dict[str, Any]]) -> None:
    """Variables, files, limits, rights of server, process, timer, migration, hook, exec and build, but for a table."""
    server = seen.pop("server")
    for name in ("RLIMIT_NOFILE", "RLIMIT_OFILE"):  # `gapless serve` raises its own
        server["limits"][name] = seen["process"]["limits"][name]
    shell = {name: value for name, value in SHELL.items() if name not in SERVER | {"LANG", "PIP_INDEX_URL"}}
    for kind, view in [*seen.items(), ("server", server)]:
        variables = view["variables"]
        assert not {name for name in shell if name in variables}, kind
        assert variables.get("LANG") != "de_DE.UTF-8", kind
        release = variables["GAPLESS_RELEASE"]
        assert variables["PATH"].startswith(f"/srv/shop/releases/{release}/.venv/bin:/opt/tools:/usr/bin:/bin:"), kind
        assert variables["WEIGHT"] == "heavy", kind
    for kind in ("process", "timer", "migration", "hook", "exec"):
        more = HOOK if kind == "hook" else set()
        assert differences(server["variables"], seen[kind]["variables"]).keys() - OF_UNIT == SERVER | more, kind
        for what in ("mounts", "limits", "status"):
            assert differences(server[what], seen[kind][what]) == {}, (kind, what)
    build = seen["build"]
    assert differences(server["variables"], build["variables"]).keys() - OF_UNIT == SERVER | BUILD
    assert build["variables"]["WORD"] == "built"
    assert build["variables"]["PIP_INDEX_URL"] == "https://packages.example.com/simple"
    assert build["variables"]["HOME"] == "/srv/shop/cache"
    assert differences(seen["process"]["limits"], build["limits"]) == {}
    # Both write other places, a build sees all of /proc, and makes files that others may read.
    places = {"/srv/shop/shared", "/srv/shop/cache", build["status"]["directory"], "/run/gapless/shop"}
    other = differences(server["mounts"], build["mounts"]).keys()
    assert {one for one in other if not one.startswith("/proc")} <= places
    assert differences(server["status"], build["status"]).keys() <= {"Umask", "user", "Seccomp_filters"}
    assert {kind: view["more"]["unit"].partition("@")[0] for kind, view in seen.items()} == {
        "build": "shop.build.service",
        "migration": "shop.migration.service",
        "hook": "shop.hook.service",
        "process": "shop.worker",
        "timer": "shop.tick",
        "exec": seen["exec"]["more"]["unit"].partition("@")[0],
    }
    assert {view["more"]["session"] for view in seen.values()} == {True}


def test_a_users_own_manager_runs_all_in_units_too(host: Host) -> None:
    """`gapless up --user`: builds, migrations and exec are units of the manager that runs the server, as it does."""
    host.run("useradd", "--create-home", "--user-group", "baker")
    host.run("loginctl", "enable-linger", "baker")
    host.run("systemctl", "start", f"user@{host.run('id', '-u', 'baker').stdout.strip()}.service")
    shop = Shop(host, "cake", 8001, user="baker")
    shared = "/home/baker/.local/share/gapless/cake/shared"
    shop.write(config=CONFIG.replace("/{shared}", shared), app=APP)
    host.write(f"{shop.project}/show.py", SHOW)
    host.write(f"{shop.project}/.env", "PATH=/opt/tools:/usr/bin:/bin\nWEIGHT=heavy\n")
    shell = {"TOKEN_OF_BAKER": "secret", "PYTHONPATH": "/home"}
    host.run(*GAPLESS, "up", "--user", cwd=shop.project, env=shell, user="baker")
    log = host.read(f"{shared}/../log/{shop.current()}.log").split("found ")
    done = host.run(*GAPLESS, "exec", "--", sys.executable, "show.py", cwd=shop.project, env=shell, user="baker")
    views = {"build": found(log[1]), "hook": found(log[2]), "migration": found(log[3]), "exec": found(done.stdout)}
    server = json.loads(host.read(f"{shared}/server"))
    for kind, view in views.items():
        more = {"WORD", "PIP_INDEX_URL", "RUNTIME_DIRECTORY", *OF_BUILDERS} if kind == "build" else set()
        more |= HOOK if kind == "hook" else set()
        assert differences(server["variables"], view["variables"]).keys() - OF_UNIT == SERVER | more, kind
        assert "TOKEN_OF_BAKER" not in view["variables"], kind
        assert differences(server["status"], view["status"]).keys() <= {"Umask", "Seccomp_filters"}, kind
        assert view["more"]["unit"].startswith("cake."), kind
    assert host.run(*GAPLESS, "exec", "sh", "-c", "exit 7", cwd=shop.project, user="baker", check=False).returncode == 7
    shop.remove()
    assert shop.left() == ""
