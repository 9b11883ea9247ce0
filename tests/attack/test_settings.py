"""gapless.toml as a weapon: of a release that rewrites its own, of a project with orders for systemd, in /tmp."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import metadata

import pytest

from tests.host.host import PROJECTS, Host
from tests.host.life import Shop, leaving_nothing

ORDERS = ("+sh", "@sh", "-sh", ":sh", "!sh", "|sh")  # systemd.service(5): the first of them is "as root"
RUN = '["{word}", "-c", "id > /root/pwned; id -u >> /proof/ran"]'
# As text, for gapless.toml is to be good TOML that only root's refusal of the first word, or its own copy, disarms.
EVIL = f"""
[processes.evil]
command = {RUN}
[timers.worse]
command = {RUN}
calendar = "*:*:*"
[sandbox]
writable = ["/", "/root", "/etc"]
jit = true
"""
REWRITE = """
import os, pathlib, shutil, sys, time

word, way = sys.argv[1:]
evil = pathlib.Path("gapless.toml").read_text().partition("[build]")[0] + pathlib.Path("evil.toml").read_text()
os.makedirs(".venv/bin", exist_ok=True)
shutil.copy("/bin/sh", ".venv/bin/" + word)

def rewrite():
    pathlib.Path("fresh").write_text(evil)
    os.rename("fresh", "gapless.toml")

rewrite()
if way == "daemon":
    kept = open("gapless.toml", "r+")  # and by a descriptor
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            end = time.monotonic() + 20
            while time.monotonic() < end:
                try:
                    rewrite()
                except OSError:
                    pass
                kept.seek(0)
                kept.write(evil)
                kept.flush()
                time.sleep(0.001)
        os._exit(0)
    time.sleep(0.2)
"""


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app that is not up yet; nothing of it is left afterwards."""
    with leaving_nothing(Shop(host, "shop", 8000)) as one:
        one.write()
        yield one


@pytest.mark.parametrize(("word", "way"), [("+sh", "build"), ("sh", "daemon")])
def test_a_build_that_rewrites_the_settings_of_its_release(shop: Shop, word: str, way: str) -> None:
    """Invariant 9: root decides from the copy that it took before, at the deploy and at a rollback to it."""
    host = shop.host
    host.write(f"{shop.project}/rewrite.py", REWRITE)
    host.write(f"{shop.project}/evil.toml", EVIL.format(word=word))
    shop.write(config=f'[build]\nrun = "python3 rewrite.py {word} {way}"\n')
    wanted = host.read(f"{shop.project}/gapless.toml")
    shop("up")
    first = shop.current()
    assert host.run("pgrep", "--euid", "shop-build", check=False).stdout == ""
    assert "[processes.evil]" in host.read(f"/srv/shop/releases/{first}/gapless.toml")  # it was no blank shot

    def harmless() -> None:
        assert host.read(f"/srv/shop/env/{first}.toml") == wanted
        assert host.run("stat", "-c", "%U:%G %a", f"/srv/shop/env/{first}.toml").stdout == "root:root 600\n"
        assert shop.show(f"shop@{first}.service", "ReadWritePaths") == "/srv/shop/shared"
        assert shop.show(f"shop@{first}.service", "MemoryDenyWriteExecute") == "yes"
        found = host.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "shop.*@*").stdout
        found += host.run("find", "/etc/systemd", "/run/systemd", "-name", "shop.*@*").stdout
        assert found == ""
        assert host.read("/proof/ran") == ""

    harmless()
    shop.write(text="second")
    second = shop.deploy()
    assert first in shop("rollback").stdout
    assert shop.current() == first != second
    harmless()


def test_a_first_word_that_is_an_order_for_systemd(host: Host) -> None:
    """Invariants 8 and 9: refused wherever a command stands, in words that name it, before anything is made."""
    shop = Shop(host, "shop", 8000)
    for number, word in enumerate(ORDERS):
        run = RUN.format(word=word)
        places = {
            "processes.a.command": f"[processes.a]\ncommand = {run}\n",
            "timers.a.command": f'[timers.a]\ncommand = {run}\ncalendar = "*:*:*"\n',
            "build.run": f"[build]\nrun = {run}\n",
            "release.migrate": f"[release]\nmigrate = {run}\n",
        }
        key = list(places)[number % len(places)]
        shop.write(config=places[key])
        done = shop(("up", "deploy", "config")[number % 3], check=False)
        assert done.returncode == 2, done.stderr
        assert f"`{key}`: '{word}' is not the name or path of a program" in done.stderr
    assert shop.left() == ""


def test_a_release_that_brings_such_settings(shop: Shop) -> None:
    """Invariants 3 and 8: another source than the project is looked at in the same way."""
    shop("up")
    first = shop.live()
    evil = f"{PROJECTS}/evil"
    for name in ("app.py", "gapless.toml"):
        shop.host.write(f"{evil}/{name}", shop.host.read(f"{shop.project}/{name}"))
    shop.host.write(f"{evil}/gapless.toml", shop.host.read(f"{evil}/gapless.toml") + EVIL.format(word="+sh"))
    done = shop("deploy", evil, check=False)
    assert done.returncode == 2
    assert "`processes.evil.command`: '+sh' is not the name or path of a program" in done.stderr
    assert shop.live()["pid"] == first["pid"]
    assert shop.host.run("ls", "-A", "/srv/shop/releases").stdout == f"{first['release']}\n"


def test_settings_that_another_user_put_above(host: Host) -> None:
    """Invariant 9: root below /tmp, or below a home, takes nothing of what lies there, and is told why."""
    host.run("sh", "-c", "id mallory || useradd --create-home mallory", check=False)
    text = f'name = "shop"\ncommand = {RUN.format(word="sh")}\n'
    for folder, why in (("/tmp", "anybody can write to /tmp"), ("/home/mallory", "belongs to mallory")):  # noqa: S108
        host.run("sh", "-c", f"cat > {folder}/gapless.toml", user="mallory", stdin=text)
        host.run("mkdir", "-p", f"{folder}/roots/deep")
        for verb in ("up", "deploy", "config", "status", "down"):
            done = host.gapless(verb, cwd=f"{folder}/roots/deep", check=False)
            assert done.returncode == 2, done.stdout + done.stderr
            assert "there is no such file, and above it the search stopped" in done.stderr
            assert why in done.stderr
            assert f"-C {folder}" in done.stderr
        host.run("rm", "-r", f"{folder}/roots", f"{folder}/gapless.toml")
    assert host.run("sh", "-c", "ls /srv; find /etc/systemd/system -name 'shop*'").stdout == ""


@pytest.mark.parametrize("link", ["gapless.toml", "vendor/gapless-{}-py3-none-any.whl"])
def test_a_first_gapless_toml_that_is_a_link(host: Host, link: str) -> None:
    """Invariants 8 and 9: `sudo gapless init` writes nothing by links of a project's owner; he himself may run it."""
    project = f"{PROJECTS}/links"
    host.write(f"{project}/app.py", "import flask\napp = flask.Flask(__name__)\n")
    host.write(f"{project}/requirements.txt", "")
    host.write("/precious/file", "precious")
    path = f"{project}/{link.format(metadata.version('gapless'))}"
    target = "/precious/new" if link == "gapless.toml" else "/precious/file"
    host.run("sh", "-c", f"mkdir -p $(dirname {path}); ln -s {target} {path}; chown -hR nobody: {project}")
    refused = host.gapless("init", cwd=project, check=False)
    assert refused.returncode == 1
    assert "belongs to nobody, who would have root write elsewhere" in refused.stderr
    assert "Try:   run `gapless init` as the owner of the project, without sudo" in refused.stderr
    assert host.run("ls", "/precious").stdout == "file\n"
    assert host.read("/precious/file") == "precious"
    host.run("rm", path)
    host.gapless("init", cwd=project, user="nobody")
    host.run("rm", "-r", project, "/precious")


@pytest.mark.parametrize("file", ["gapless.toml", "gapless.staging.toml"])
@pytest.mark.parametrize(
    "more",
    [60_000 * "a." + "a = 1", f"x = {60_000 * '['}", f"[env]\nA = 0x{5000 * 'f'}"],
    ids=["dots", "brackets", "digits"],
)
def test_settings_made_to_keep_root_busy(host: Host, file: str, more: str) -> None:
    """Invariants 8 and 9: less than 256 KiB take neither hours nor a traceback, lying over others or below."""
    shop = Shop(host, "busy", 8020)
    shop.write()
    host.write(f"{shop.project}/gapless.staging.toml", 'name = "busier"\nlisten = "127.0.0.1:8021"\n')
    host.write(f"{shop.project}/{file}", f"{host.read(f'{shop.project}/{file}')}{more}\n")
    began = time.monotonic()
    for verb in (["up", "-d", "staging"], ["config", "-d", "staging"]):
        assert f"{shop.project}/{file}" in shop.fails(*verb)
    assert time.monotonic() - began < 20
    assert shop.left() == ""
