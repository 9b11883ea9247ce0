"""Names that are somebody's already: `up` makes nobody's account, group or data the app's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.host.advice import hint
from tests.host.host import Host
from tests.host.life import Shop


@pytest.fixture(scope="module", autouse=True)
def people(host: Host) -> None:
    """A person with a home, a group whose members are as good as root, and a service."""
    host.run("useradd", "--create-home", "anna")
    host.run("groupadd", "dockers")
    host.run("useradd", "--system", "store-build")


@pytest.fixture
def accounts(host: Host) -> Iterator[None]:
    """All users and groups are afterwards what they were."""
    before = host.run("sh", "-c", "getent passwd; getent group").stdout
    yield
    assert host.run("sh", "-c", "getent passwd; getent group").stdout == before


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(
    ("name", "whose"),
    [("shadow", "group shadow"), ("dockers", "group dockers"), ("anna", "user anna"), ("store", "user store-build")],
)
def test_a_name_that_is_taken(host: Host, name: str, whose: str) -> None:
    """Invariants 8 and 9: refused, naming it, with nothing half-made; told to, `up` takes it, and gives it back."""
    shop = Shop(host, name, 8000)
    shop.write()
    for argv in (("up",), ("up", "-n")):
        said = shop.fails(*argv)
        assert f"cannot use the {whose}: gapless did not make it for this app" in said
        assert "--existing-user" in said
    assert host.run("sh", "-c", f"ls /srv; find /etc/systemd /run/systemd -name '{name}[.@]*'").stdout == ""
    if name in ("shadow", "store"):
        assert f"Use the {whose} that is there already." in shop("up", "--existing-user").stdout
        assert shop.get()
        assert shop("up").stdout == "Already up: nothing to change.\n"
        shop.remove()


def test_the_account_of_another_app(host: Host) -> None:
    """Invariant 9: an app called shop-build would be the one that builds all releases of shop."""
    shop, other = Shop(host, "shop", 8000), Shop(host, "shop-build", 8001)
    shop.write()
    shop("up")
    other.write()
    assert "cannot use the user shop-build" in other.fails("up")
    assert host.run("test", "-e", "/srv/shop-build", check=False).returncode == 1
    assert "Already down" in other("down", "--data", "--yes").stdout
    assert host.run("id", "shop-build", check=False).returncode == 0
    shop.deploy()
    shop.remove()
    # And the other way round.
    other("up")
    assert "cannot use the user shop-build" in shop.fails("up")
    other.remove()


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("account", ["shop", "shop-build"])
def test_never_the_superuser(host: Host, account: str) -> None:
    """Invariant 9: neither the app nor its builds run with the number 0, whatever its name and whoever insists."""
    host.run("useradd", "--non-unique", "--uid", "0", account)
    try:
        shop = Shop(host, "shop", 8000)
        shop.write()
        for argv in (("up",), ("up", "--existing-user")):
            said = shop.fails(*argv)
            assert "superuser" in said
            assert account in said
            assert hint(said) == "choose another `name`"
        assert host.run("ls", "/srv").stdout == ""
        shop.host.run("sed", "-i", 's/^name = .*/name = "bakery"/', f"{shop.project}/gapless.toml")
        shop("up", "-n")
    finally:
        host.run("sed", "-i", f"/^{account}:/d", "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow")


@pytest.mark.usefixtures("accounts")
def test_one_number_for_the_app_and_its_builds(host: Host) -> None:
    """Invariant 9: two names of one user are no boundary."""
    host.run("useradd", "--system", "shop")
    host.run("useradd", "--system", "--non-unique", "--uid", host.run("id", "-u", "shop").stdout.strip(), "shop-build")
    try:
        shop = Shop(host, "shop", 8000)
        shop.write()
        assert "shop and shop-build are one user" in shop.fails("up", "--existing-user")
    finally:
        host.run("sed", "-i", "-E", "/^shop(-build)?:/d", "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow")


LINGER = """
mkdir -p $HOME/.config/systemd/user/default.target.wants
printf '[Service]\\nExecStart=/bin/sleep 1000\\n' > $HOME/.config/systemd/user/default.target.wants/evil.service
loginctl enable-linger $(id -un) || true
sleep 1
"""


def test_no_account_gets_a_systemd_manager_of_its_own(host: Host) -> None:
    """Invariants 9 and 10: it would run what a build, or the app, leaves: in no sandbox, and after its end."""
    shop = Shop(host, "shop", 8000)
    host.write(f"{shop.project}/linger.sh", LINGER)
    shop.write(config='[build]\nrun = "sh linger.sh"\n[release]\nmigrate = "sh linger.sh"\n')
    shop("up")
    shop("exec", "--", "sh", "linger.sh")
    for user in ("shop", "shop-build"):
        commands = host.run("ps", "-o", "args=", "-u", user, check=False).stdout
        assert "systemd --user" not in commands
        assert "sleep" not in commands
    host.run("rm", f"{shop.project}/linger.sh")
    shop.remove()
    assert shop.left() == ""
    assert host.run("find", "/etc/systemd/system", "-name", "user@*").stdout == ""
    host.run("sh", "-c", "rm -f /var/lib/systemd/linger/shop*")
