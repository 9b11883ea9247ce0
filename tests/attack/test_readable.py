"""What another local user can read of an app: what docs/security.md lists, and nothing else."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.host import Host
from tests.host.life import Shop
from tests.support import wait_until

PAGE = Path(__file__).parents[2] / "docs/security.md"
SECRET = "tr0ub4dor"  # noqa: S105 -- nobody's
LIST = """
import os, sys
what = os.R_OK if sys.argv[1] == "read" else os.W_OK
for top in sys.argv[2:]:
    for folder, folders, files in os.walk(top):
        for path in (folder, *(os.path.join(folder, name) for name in (*files, *folders))):
            if os.access(path, what) and (not os.path.isdir(path) or os.access(path, os.X_OK)):
                print(path)
"""
PLACES = ("/srv/shop", "/run/gapless")


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app with all that an app can have: variables, secrets, a build, a migration, a timer, failures."""
    one = Shop(host, "shop", 8000)
    host.write(f"{one.project}/.env", f'PASSWORD="{SECRET}-variable"\n', 0o600)
    config = f"""
env_file = ".env"
env = {{ TOKEN = "{SECRET}-token" }}
secrets = {{ key = ".key" }}
[build]
run = "echo $PASSWORD $TOKEN; touch built; echo $PASSWORD > $HOME/cached"
[release]
migrate = "echo $PASSWORD; echo $PASSWORD > $GAPLESS_SHARED/data; cat $CREDENTIALS_DIRECTORY/key || :"
[assets]
"/static" = "static"
[timers.t]
command = "true"
calendar = "daily"
"""
    host.write(f"{one.project}/.key", f"{SECRET}-key", 0o600)
    host.write(f"{one.project}/static/public.css", "a {}")
    one.write(config=config)
    one("up")
    one.write(config=config + '[processes.p]\ncommand = "true"\n', app=f"raise SystemExit('{SECRET}-output')")
    one.fails("deploy")
    one("lock", "acquire", "--why", "to be seen")
    yield one
    one("lock", "release")
    one.remove()
    assert one.left() == ""


def documented() -> list[str]:
    """The paths of the page's list, as patterns of the app shop."""
    rows = re.findall(r"^\| `(/(?:srv|run)/[^`]+)` \|", PAGE.read_text(), re.MULTILINE)
    return [row.replace("NAME", "shop").replace("RELEASE", "*") for row in rows]


def passing(path: str) -> bool:
    """Whether a file is there only at times: while somebody deploys, or pauses, or for an app behind Caddy."""
    return any(name in path for name in ("holder", "pause", "maintenance"))


def test_what_another_user_reads_and_writes(shop: Shop) -> None:
    """Invariant 9: nobody reads what the page does not list, or writes anything; what it lists is there."""
    host, allowed = shop.host, documented()
    assert len(allowed) > 4
    found = host.run("python3", "-c", LIST, "read", *PLACES, user="nobody").stdout.split()
    assert [path for path in found if not any(fnmatch.fnmatch(path, one) for one in allowed)] == []
    assert [one for one in allowed if not fnmatch.filter(found, one) and not passing(one)] == []
    written = host.run("python3", "-c", LIST, "write", *PLACES, user="nobody").stdout.split()
    assert written == []


def test_no_value_is_among_it(shop: Shop) -> None:
    """Invariant 9: variables and secrets are in no file, unit, property or process that others see."""
    host, release = shop.host, shop.current()
    wait_until(lambda: SECRET in host.read(f"/srv/shop/log/{release}.log"))
    everywhere = ("/srv/shop", "/run/gapless", "/run/systemd", "/etc/systemd", "/run/log", "/var/log/journal")
    every = f"{SECRET}-[a-z]+"
    found = host.run("grep", "-rhosaE", every, *everywhere, user="nobody", check=False).stdout.split()
    # Why a release could not start is in the ledger, as it said it, and systemd shows it, too.
    assert {*found} == {f"{SECRET}-output"}
    for argv in (
        ["systemctl", "show", f"shop@{release}.service"],
        ["systemctl", "status", "--no-pager", "-l", f"shop@{release}.service"],
        ["systemctl", "cat", f"shop@{release}.service"],
        ["journalctl", "--no-pager", "-u", f"shop@{release}.service"],
        ["sh", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline"],
    ):
        assert SECRET not in host.run(*argv, user="nobody", check=False).stdout.replace(f"{SECRET}-output", ""), argv
    for verb in ("status", "releases", "logs", "audit", "config"):
        done = host.gapless(verb, cwd=shop.project, user="nobody", check=False)
        assert f"{SECRET}-variable" not in done.stdout + done.stderr
        assert f"{SECRET}-key" not in done.stdout + done.stderr
