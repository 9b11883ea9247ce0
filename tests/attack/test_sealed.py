"""A sealed release: whatever of the app tries to write it, or another one, is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.host import Host
from tests.host.life import Shop, app_up
from tests.support import wait_until

KINDS = ("migration", "server", "process", "timer", "exec")
WRITER = """
import json, os, pathlib, sys

def all_ways(kind):
    found, own = {}, os.getcwd()

    def attempt(name, call, *argv, **options):
        try:
            call(*argv, **options)
            found[name] = "done"
        except OSError as error:
            found[name] = os.strerror(error.errno)

    for where, tree in (("own", own), ("other", os.path.join(os.path.dirname(own), os.environ["OTHER"]))):
        app = f"{tree}/app.py"
        attempt(f"write {where}", open, app, "a")
        attempt(f"truncate {where}", os.truncate, app, 0)
        attempt(f"add {where}", open, f"{tree}/evil.py", "x")
        attempt(f"make {where}", os.mkdir, f"{tree}/evil")
        attempt(f"compile {where}", open, f"{tree}/__pycache__/evil.pyc", "x")
        attempt(f"unlink {where}", os.unlink, app)
        attempt(f"rename {where}", os.rename, app, f"{tree}/old.py")
        attempt(f"move {where}", os.rename, tree, f"{tree}-old")
        attempt(f"chmod {where}", os.chmod, app, 0o666)
        attempt(f"open {where}", os.chmod, tree, 0o777)
        attempt(f"touch {where}", os.utime, app, (1, 1))
        attempt(f"own {where}", os.chown, app, os.getuid(), os.getgid())
        attempt(f"xattr {where}", os.setxattr, app, "user.evil", b"1")
        attempt(f"link {where}", os.symlink, "/etc/shadow", f"{tree}/link")
        attempt(f"reopen {where}", lambda: open(f"/proc/self/fd/{os.open(app, os.O_RDONLY)}", "r+"))
        attempt(f"through root {where}", lambda: open(f"/proc/self/root{app}", "r+"))
    for name in ("settings", "variables"):
        attempt(name, open, f"/srv/shop/env/{os.path.basename(own)}.{'toml' if name == 'settings' else 'env'}", "a")
    found["user"] = str(os.getuid())
    shared = os.environ["GAPLESS_SHARED"]
    pathlib.Path(shared, f"{kind}.tmp").write_text(json.dumps(found))
    os.rename(f"{shared}/{kind}.tmp", f"{shared}/{kind}.json")

if __name__ == "__main__":
    all_ways(sys.argv[1])
    if sys.argv[1] == "process":
        import signal
        signal.pause()
"""
CONFIG = """
env = {{ OTHER = "{other}" }}
[release]
migrate = ["python3", "writer.py", "migration"]
[processes.worker]
command = "python3 writer.py process"
drain = "0s"
[timers.tick]
command = "python3 writer.py timer"
calendar = "*:*:*"
"""


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app that is up."""
    with app_up(host) as one:
        yield one


def test_nothing_of_an_app_writes_a_sealed_release(shop: Shop) -> None:
    """Invariants 9 and 10: neither its own nor another, from the server, a process, a timer, a migration or an exec."""
    host, other = shop.host, shop.current()
    host.write(f"{shop.project}/writer.py", WRITER)
    shop.write(config=CONFIG.format(other=other), app="import writer; writer.all_ways('server')")
    digest = "find . -printf '%p %y %U:%G %m %T@ %i\\n' | sort; find . -type f -exec sha256sum {} + | sort"
    before = host.run("sh", "-c", digest, cwd=f"/srv/shop/releases/{other}").stdout
    release = shop.deploy()
    sealed = host.run("sh", "-c", digest, cwd=f"/srv/shop/releases/{release}").stdout
    shop("exec", "--", "python3", "writer.py", "exec")
    for kind in KINDS:
        path = f"/srv/shop/shared/{kind}.json"
        wait_until(lambda path=path: host.run("test", "-e", path, check=False).returncode == 0, 20, path)  # type: ignore[misc]
        found: dict[str, Any] = json.loads(host.read(path))
        assert found.pop("user") == host.run("id", "-u", "shop").stdout.strip(), kind
        assert len(found) == 34
        allowed = {"Permission denied", "Operation not permitted", "Read-only file system"}
        assert {name: said for name, said in found.items() if said not in allowed} == {}, kind
    assert host.run("sh", "-c", digest, cwd=f"/srv/shop/releases/{other}").stdout == before
    assert host.run("sh", "-c", digest, cwd=f"/srv/shop/releases/{release}").stdout == sealed
