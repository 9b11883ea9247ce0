"""What a first `up` needs is looked at before it makes anything: refused, it leaves the host as it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.host.advice import follow, hint, wrong
from tests.host.host import Host
from tests.host.life import Shop, leaving_nothing
from tests.support import wait_until

LISTEN = "import socket, time; s = socket.socket({family}); s.bind({at!r}); s.listen(); time.sleep(1000)"


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app that is not up yet; nothing of it is left afterwards."""
    with leaving_nothing(Shop(host, "shop", 8000)) as one:
        one.write()
        yield one


def listen_on(shop: Shop, listen: str) -> None:
    path = f"{shop.project}/gapless.toml"
    shop.host.write(path, shop.host.read(path).replace('listen = "127.0.0.1:8000"', f"listen = {listen}"))


def end_of(process: subprocess.Popen[str]) -> Callable[[], None]:
    """What ends it."""

    def end() -> None:
        process.kill()
        process.communicate()

    return end


def somebody(shop: Shop) -> Callable[[], None]:
    """A process listens on the port."""
    process = shop.host.popen(sys.executable, "-c", LISTEN.format(family=2, at=("127.0.0.1", 8000)))
    wait_until(shop.inode)
    return end_of(process)


def another_app(shop: Shop) -> Callable[[], None]:
    """Another socket unit, which is not gapless's, listens on the port, on every address."""
    unit = "/etc/systemd/system/elsewhere"
    shop.host.write(f"{unit}.socket", "[Socket]\nListenStream=0.0.0.0:8000\n")
    shop.host.write(f"{unit}.service", "[Service]\nExecStart=/bin/sleep 1000\n")
    shop.host.run("systemctl", "daemon-reload")
    shop.host.run("systemctl", "start", "elsewhere.socket")

    def end() -> None:
        shop.host.run("sh", "-c", f"systemctl stop elsewhere.socket && rm {unit}.*")

    return end


def unix_socket(shop: Shop) -> Callable[[], None]:
    """A process listens on a Unix socket in /run, which systemd would take from it."""
    listen_on(shop, '"unix:/run/taken.sock"')
    process = shop.host.popen(sys.executable, "-c", LISTEN.format(family=1, at="/run/taken.sock"))
    wait_until(lambda: shop.host.run("test", "-S", "/run/taken.sock", check=False).returncode == 0)
    return end_of(process)


@pytest.mark.parametrize(
    ("take", "who"),
    [
        (somebody, "127.0.0.1:8000 is in use by pid "),
        (another_app, "127.0.0.1:8000 is in use by elsewhere.socket"),
        (unix_socket, "unix:/run/taken.sock is in use by somebody"),
    ],
    ids=["a process", "another app's socket", "a Unix socket"],
)
def test_an_address_in_use(shop: Shop, take: Callable[[Shop], Callable[[], None]], who: str) -> None:
    """Invariant 8: it is refused, who has it is named, and nothing was made; without them the same command works."""
    end = take(shop)
    try:
        said = shop.fails("up")
        assert who in said
        assert hint(said) == "give shop another `listen`, or end who has that"
        assert shop.left() == ""
    finally:
        end()
    wait_until(lambda: not shop.inode())
    shop("up")
    assert wrong(shop) == {}


@pytest.mark.parametrize(
    "listen", ['["127.0.0.1:8000", "localhost:8000"]', '["0.0.0.0:8000", "127.0.0.1:8000"]', '["[::]:80", "[::1]:80"]']
)
def test_one_address_twice(shop: Shop, listen: str) -> None:
    """Invariant 8: gapless.toml is refused, before anything is made."""
    listen_on(shop, listen)
    assert hint(shop.fails("up")) == "write each address once"
    assert shop.left() == ""
    shop.write()  # for who clears up


def test_what_the_first_release_needs_is_not_there(shop: Shop) -> None:
    """Invariant 8: a source, a secret or a program of git that is not there is missed before anything is made."""
    assert "nothing" in shop.fails("up", "nothing")
    shop.write(config='secrets = { key = "key" }')
    assert hint(shop.fails("up")).startswith("create it")
    assert shop.left() == ""
    shop.host.write(f"{shop.project}/key", "1")
    shop("up")


def test_another_port_after_a_failed_first_deploy(shop: Shop) -> None:
    """Invariant 11: nobody was served on the old one, so nobody is asked whether it may be closed."""
    shop.write(app="raise SystemExit('no settings')")
    shop.fails("up")
    shop.write()
    listen_on(shop, '"127.0.0.1:8001"')
    shop("up")
    assert shop.host.get(8001)[0] == 200
    assert shop.inode() == 0
    assert wrong(shop) == {}


def test_an_address_more_is_not_taken_from_who_has_it(shop: Shop) -> None:
    """Invariant 11: an app that serves is not stopped for an address that it could not have."""
    shop("up")
    listen_on(shop, '["127.0.0.1:8000", "127.0.0.1:8001"]')
    process = shop.host.popen(sys.executable, "-c", LISTEN.format(family=2, at=("127.0.0.1", 8001)))
    try:
        wait_until(lambda: "8001 is in use" in shop.fails("up", "--close-socket"))
        assert shop.get()
    finally:
        end_of(process)()
    wait_until(lambda: shop("up", "--close-socket", check=False).returncode == 0)
    assert shop.host.get(8001)[0] == 200


def test_two_projects_of_one_name(shop: Shop) -> None:
    """Invariant 11: the second is refused by every command, both are named, and the first serves on, until told."""
    shop.write(config='id = "bakery"', text="bread")
    shop("up")
    first = shop.live()["release"]
    shop.write(config='id = "smithy"', text="iron")
    for argv in (
        ["up"],
        ["deploy"],
        ["rollback"],
        ["prune"],
        ["status"],
        ["down", "--yes"],
        ["lock", "acquire", "--why", "x"],
    ):
        said = shop.fails(*argv)
        assert "its id is bakery" in said
        assert "gapless.toml says smithy" in said
    assert shop.get().endswith("bread")
    # Without an id the name decides, as it always did.
    shop.write(text="cake")
    shop.deploy()
    assert shop.get().endswith("cake")
    # One that is told to takes it over, and then the first is the stranger.
    shop.write(config='id = "smithy"', text="iron")
    assert "Know shop by the id smithy." in follow(shop, "gapless up --take-over")
    shop.deploy()
    assert shop.get().endswith("iron")
    shop.write(config='id = "bakery"', text="bread")
    assert "its id is smithy" in shop.fails("deploy")
    shop("deploy", "--take-over")
    assert shop.get().endswith("bread")
    assert first in shop("releases").stdout
    assert wrong(shop) == {}


def test_init_tells_projects_apart(host: Host) -> None:
    """Two projects in directories of one name get two ids."""
    texts = []
    for where in ("/opt/gapless-tests/one/shop", "/opt/gapless-tests/two/shop"):
        host.write(f"{where}/app.py", "app = None\n")
        host.gapless("init", cwd=where)
        texts.append(host.read(f"{where}/gapless.toml"))
    assert [text.splitlines()[0] for text in texts] == ['name = "shop"'] * 2
    assert texts[0].splitlines()[1] != texts[1].splitlines()[1]
