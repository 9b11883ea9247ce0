"""Builds and migrations on a real host: who runs them, what they may write, and what is left of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.host.advice import hint
from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing
from tests.support import wait_until

# Without [secrets]: the kernel here has no ACLs on tmpfs, by which systemd lets another user than root read them.
WHOLE = """
[env]
WORD = "hello"
[build]
run = '''
echo "$(id -un) $(id -gn) $(umask) $HOME $WORD $GAPLESS_RELEASE"
touch built; ln -s /etc/passwd link; printf x >> "$HOME/builds"; wc -c < "$HOME/builds"
'''
[release]
migrate = ["sh", "-c", "id -un; echo > $GAPLESS_SHARED/migrated"]
"""


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app that is not up yet."""
    with leaving_nothing(Shop(host, "shop", 8000)) as one:
        one.write()
        yield one


def log(shop: Shop, release: str) -> list[str]:
    return shop.host.read(f"/srv/shop/log/{release}.log").splitlines()


def test_build_and_migration_run_as_accounts_of_their_own(shop: Shop) -> None:
    """Invariants 9 and 10: the build as shop-build, with caches that stay; the release is root's."""
    host = shop.host
    shop.write(config=WHOLE)
    shop("up")
    first = shop.current()
    assert log(shop, first) == [
        f"shop-build shop-build 0022 /srv/shop/cache hello {first}",
        "1",
        "shop",
    ]
    second = shop.deploy()
    assert log(shop, second)[1] == "2"
    assert host.run("stat", "-c", "%U", "/run/gapless/shop").stdout == "shop\n"
    tree = f"/srv/shop/releases/{second}"
    assert host.run("find", tree, "!", "-user", "root").stdout == ""
    assert host.run("find", tree, "!", "-type", "l", "-perm", "/022").stdout == ""
    assert host.run("stat", "-c", "%a", f"{tree}/gapless.toml", f"{tree}/app.py").stdout == "600\n644\n"
    assert host.run("stat", "-c", "%U %a", "/srv/shop/shared/migrated", "/srv/shop/cache", tree).stdout.split("\n") == [
        "shop 640",
        "shop-build 700",
        "root 755",
        "",
    ]
    assert shop.get().startswith(second)


def test_nothing_of_a_build_or_a_migration_is_left(shop: Shop) -> None:
    """Invariants 9 and 10: what they started ends with them, and what a build has open is not the release's."""
    shop("up")
    text = "import time; f = open('app.py', 'a'); time.sleep(100)"
    daemon = """setsid sh -c "exec sleep 4711" & sleep 0.3"""
    run = f"""setsid python3 -c "{text}" & sleep 0.3"""
    shop.write(config=f"[build]\nrun = '''{run}'''\n[release]\nmigrate = '''{daemon}'''\n")
    release = shop.deploy()
    assert shop.host.run("pgrep", "-f", "sleep 4711", check=False).stdout == ""
    assert shop.host.run("pgrep", "-u", "shop-build", check=False).stdout == ""
    assert "time.sleep(100)" not in shop.host.read(f"/srv/shop/releases/{release}/app.py")


@pytest.mark.parametrize(("table", "key", "user"), [("build", "run", "shop-build"), ("release", "migrate", "shop")])
def test_a_command_that_takes_too_long_ends_and_changes_nothing(shop: Shop, table: str, key: str, user: str) -> None:
    """Invariant 3: the time of a build or a migration is up, all of it ends; what serves goes on, and so do deploys."""
    shop("up")
    first = shop.live()
    shop.write(config=f"[{table}]\n{key} = 'echo begun; setsid sleep 107 & wait'\ntimeout = '2s'\n")
    said = shop.fails("deploy")
    assert "it took longer than 2 s" in said
    assert "begun" in said
    assert "sleep 107" not in shop.host.run("ps", "-u", user, "-o", "args=", check=False).stdout
    assert shop.live()["pid"] == first["pid"]
    shop.write(config=f"[{table}]\n{key} = 'echo again'\n")
    assert "again" in log(shop, shop.deploy())


def test_a_killed_deployers_build_ends_and_its_migration_goes_on(shop: Shop) -> None:
    """Invariants 2 and 5: the next deploy waits for a migration, and for no build; `down` does, too."""
    host = shop.host
    shop("up")
    shop.deploy()
    shop.write(config="[build]\nrun = 'sleep 101'\n")
    deploy = shop.popen("deploy")
    wait_until(lambda: host.run("pgrep", "-u", "shop-build", check=False).stdout, 30)
    deploy.kill()
    deploy.communicate()
    wait_until(lambda: not host.run("pgrep", "-u", "shop-build", check=False).stdout, 30)
    shop.write(config="[release]\nmigrate = 'while [ ! -e $GAPLESS_SHARED/go ]; do sleep 0.1; done; echo done'\n")
    deploy = shop.popen("deploy")
    wait_until(
        lambda: host.run("systemctl", "is-active", "shop.migration.service", check=False).stdout == "activating\n"
    )
    deploy.kill()
    deploy.communicate()
    current = shop.current()
    for verb in (["deploy"], ["rollback"], ["prune"], ["down", "--yes"]):
        refused = shop(*verb, check=False)
        assert "a migration whose deployer is gone still runs (shop.migration.service)" in refused.stderr
        assert hint(refused.stderr) == "wait for it to end, or pass --lock-wait 10m"
        assert refused.returncode == 75
    assert shop.current() == current
    waits = shop.popen("deploy", "--lock-wait", "10m")
    host.run("touch", "/srv/shop/shared/go")
    said = waits.communicate(timeout=60)
    assert waits.returncode == 0, said
    interrupted, done = json.loads(shop("audit", "--json").stdout)["deploys"][-2:]
    assert (interrupted["outcome"], done["outcome"]) == ("interrupted", "succeeded")
    assert log(shop, done["to"]) == ["done"]  # its own
    assert host.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "shop.*.service").stdout == ""


@pytest.mark.parametrize("where", ["migration", "app"])
def test_a_write_into_a_release_is_refused_with_the_place_for_data(shop: Shop, where: str) -> None:
    """Invariant 9: data beside the code would be gone after the next deploy; the error names $GAPLESS_SHARED."""
    shop("up")
    first = shop.current()
    if where == "migration":
        shop.write(config="[release]\nmigrate = 'echo 1 > data.txt'\n")
    else:
        shop.write(app="open('data.txt', 'w')")
    said = shop.fails("deploy")
    assert "data.txt" in said
    assert "$GAPLESS_SHARED" in said
    assert shop.current() == first


def test_a_program_that_only_root_has_is_missed_by_name_and_cause(shop: Shop) -> None:
    """Invariant 8: root can run it, a build cannot, and the error says why."""
    shop.host.run("install", "-D", "/bin/true", "/root/.local/bin/our-builder")
    shop.write(config="[build]\nrun = 'our-builder'\n")
    said = shop.fails("up")
    assert "our-builder: not found" in said
    assert "install that program for all users" in said
