"""The deploy lock: a migration that wants to be rid of it, and a local user who locks all that he can open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.host import Host
from tests.host.life import Shop, app_up
from tests.support import wait_until

FORGED = '{"who":"nobody@nowhere","pid":1,"since":1.0,"release":"","why":"forged","started":0,"phase":""}'
MIGRATION = f"""
import fcntl, glob, json, os, pathlib, signal, time

ROOT, SHARED, FOUND = "/srv/shop", os.environ["GAPLESS_SHARED"], {{}}
FORGED = {FORGED!r}

def attempt(name, call, *argv):
    try:
        FOUND[name] = repr(call(*argv))
    except OSError as error:
        FOUND[name] = os.strerror(error.errno)

every = [f"/proc/self/fd/{{one}}" for one in os.listdir("/proc/self/fd")]
held = {{int(one.rpartition("/")[2]): os.readlink(one) for one in every if os.path.exists(one)}}
for descriptor in held:  # what it inherited, whatever it is
    for how in (fcntl.LOCK_UN, fcntl.LOCK_EX | fcntl.LOCK_NB):
        try:
            fcntl.flock(descriptor, how)
        except OSError:
            pass
for name in ("lock", "migration.lock", "holder.json", "holder.new", "hold.json", "ledger.jsonl", "turn-back"):
    path = f"{{ROOT}}/{{name}}"
    attempt(f"write {{name}}", lambda: open(path, "r+").write(FORGED))
    attempt(f"grow {{name}}", lambda: os.truncate(path, 1 << 30))
    attempt(f"make {{name}}", lambda: open(path, "x").close())
    attempt(f"unlink {{name}}", os.unlink, path)
    attempt(f"rename {{name}}", os.rename, path, SHARED + "/" + name)
    attempt(f"link {{name}}", os.link, path, SHARED + "/" + name)
    attempt(f"chmod {{name}}", os.chmod, path, 0o666)
attempt("open lock", open, f"{{ROOT}}/lock")
pathlib.Path(SHARED, "forged").write_text(FORGED)
attempt("forge holder.json", os.rename, SHARED + "/forged", f"{{ROOT}}/holder.json")
for pid in (1, os.getppid()):
    attempt(f"kill {{pid}}", os.kill, pid, signal.SIGKILL)
    attempt(f"descriptors of {{pid}}", os.listdir, f"/proc/{{pid}}/fd")
pathlib.Path(SHARED, "found.json").write_text(json.dumps({{"held": list(held.values()), "found": FOUND}}))
while not os.path.exists(SHARED + "/go"):
    time.sleep(0.02)
"""
# Locks of every kind on whatever can be opened below the app's home, over and over: releases come and go.
FLOCK = """
import fcntl, os, time
held = {}
while True:
    for top in ("/srv/shop", "/run/gapless", "/etc/systemd/system"):
        for folder, folders, files in os.walk(top):
            for path in (folder, *(os.path.join(folder, name) for name in files)):
                try:
                    key = (path, os.stat(path).st_ino)
                    if key in held or len(held) > 900:
                        continue
                    held[key] = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                    fcntl.flock(held[key], fcntl.LOCK_EX | fcntl.LOCK_NB)
                    fcntl.lockf(held[key], fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    pass
    if "once" not in held:
        held["once"] = 0
        print(len(held), flush=True)
    time.sleep(0.005)
"""
REFUSALS = {
    *("Permission denied", "Operation not permitted", "Read-only file system", "No such file or directory"),
    *("File exists", "Invalid cross-device link"),
}


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app that is up, for all tests of this file."""
    with app_up(host) as one:
        yield one


def test_a_migration_against_the_lock(shop: Shop) -> None:
    """Invariants 2 and 9: it has no descriptor of it, cannot write, grow or forge it, and others are refused."""
    host = shop.host
    host.write(f"{shop.project}/migration.py", MIGRATION)
    shop.write(config='[release]\nmigrate = ["python3", "migration.py"]\n')
    deploy = shop.popen("deploy")
    wait_until(lambda: host.run("test", "-s", "/srv/shop/shared/found.json", check=False).returncode == 0, 30)
    done = shop("deploy", check=False)
    assert done.returncode == 75
    assert "it is locked by root@" in done.stderr
    assert "deploy (migrate)" in done.stderr
    assert "forged" not in host.gapless("status", "--json", cwd=shop.project, user="nobody").stdout
    host.run("touch", "/srv/shop/shared/go")
    said, _ = deploy.communicate(timeout=60)
    assert deploy.returncode == 0, said
    result: dict[str, Any] = json.loads(host.read("/srv/shop/shared/found.json"))
    log = f"/srv/shop/log/{shop.current()}.log"
    assert sorted(set(result["held"])) == ["/dev/null", log]
    assert {name: said for name, said in result["found"].items() if said not in REFUSALS} == {}
    assert len(result["found"]) > 50
    assert host.run("stat", "-c", "%U:%G %a %s", "/srv/shop/lock").stdout == "root:root 600 0\n"
    assert host.run("test", "-e", "/srv/shop/holder.json", check=False).returncode == 1


def test_a_local_user_who_locks_all_that_he_can_open(shop: Shop) -> None:
    """Invariant 2: nobody but root can keep deploys out, however much he locks."""
    host = shop.host
    shop.write()
    flocker = host.popen("python3", "-c", FLOCK, user="nobody")
    try:
        assert flocker.stdout is not None
        assert int(flocker.stdout.readline()) > 10
        first = shop.current()
        shop.deploy()
        assert shop("up").stdout.startswith("Already up")
        assert first in shop("rollback").stdout
        shop.settled()
        shop("lock", "acquire", "--why", "a feast")
        assert "a feast" in shop.fails("deploy")
        shop("lock", "release")
        third = shop.deploy()
        shop.settled()
        shop("prune", "--keep", "2")

        assert shop.get().split()[0] == third
        assert flocker.poll() is None
    finally:
        flocker.kill()
        flocker.communicate(timeout=30)
