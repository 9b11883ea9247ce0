"""A hostile app against root's commands: what it says to systemd, to the journal and on its private socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.host import Host
from tests.host.life import Shop, app_up
from tests.support import GAPLESS, wait_until

PRIVATE = "/run/gapless/shop"
# U+2028 ends a line for Python, not for systemd; a field may be written twice; an escape sequence is for a terminal.
SAY = r"""
import socket, threading, time
TITLE = "\x1b]0;owned\x07"
print("title " + TITLE + " end", flush=True)

def send(text, kind):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.sendto(text.encode(), kind)

send("MESSAGE=one\nMESSAGE=two\nUNIT=shop@forged.service\n", "/run/systemd/journal/socket")
told = dict(one.split("=", 1) for one in open("/proc/self/environ").read().split("\0") if "=" in one)
forged = "STATUS=x\u2028MainPID=no number\u2028ActiveState=failed" + TITLE

def again_and_again():  # the server says its own, too
    while True:
        time.sleep(0.5)
        send(forged, told["NOTIFY_SOCKET"].replace("@", "\0", 1))

threading.Thread(target=again_and_again, daemon=True).start()
"""
# In the place of the private socket: as the first argument says.
ANSWER = r"""
import os, socket, sys, time
path = sys.argv[2]
if os.path.lexists(path):
    os.unlink(path)
one = socket.socket(socket.AF_UNIX)
one.bind(path)
one.listen()
print("listens", flush=True)
while True:
    asker, _ = one.accept()
    try:
        asker.recv(1 << 16)
        if sys.argv[1] == "slow":
            for byte in b"HTTP/1.1 200 OK\r\nx: " + 1000 * b"x":
                asker.send(bytes([byte]))
                time.sleep(0.1)
        while sys.argv[1] == "continue":
            asker.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        while sys.argv[1] == "body":
            asker.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100000)
        body = {"deep": b"[" * 500000, "wrong": b'{"state": 5, "descriptors": "x"}'}[sys.argv[1]]
        asker.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    except OSError:
        pass
    asker.close()
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


def as_the_app(shop: Shop, command: str) -> None:
    """Run a shell's `command` as the app's user, where its private sockets are."""
    shop("exec", "--", "sh", "-ec", f"cd {PRIVATE}; {command}")


def test_what_an_app_says_of_itself(shop: Shop) -> None:
    """Invariants 3 and 8: no status text forges what systemd says, and no terminal obeys an app."""
    shop.write(app=SAY)
    release = shop.deploy()
    wait_until(lambda: "MainPID" in shop.show(f"shop@{release}.service", "StatusText"))
    assert shop.live()["release"] == release
    logs = shop("logs").stdout
    assert "title \\x1b]0;owned\\x07 end" in logs
    assert f"{release} | one\n{release} | two\n" in logs
    assert "forged |" not in logs
    for verb in ("status", "doctor", "prune", "deploy", "rollback"):
        done = shop(verb, check=False)
        assert "Traceback" not in done.stderr
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("way", ["slow", "deep", "wrong", "continue", "body"])
def test_answers_on_the_private_socket(shop: Shop, way: str) -> None:
    """Invariants 3 and 8: whatever is answered there holds nobody up, and breaks no command."""
    shop.host.write(f"{shop.project}/answer.py", ANSWER)
    shop.deploy()
    shop.settled()
    with shop.popen("exec", "--", "python3", "answer.py", way, f"{PRIVATE}/{shop.current()}.sock") as liar:
        assert liar.stdout is not None
        assert liar.stdout.readline() == "listens\n"
        shop.host.run("timeout", "10", *GAPLESS, "status", cwd=shop.project)
        shop.host.run("timeout", "30", *GAPLESS, "deploy", "--watch", "1s", cwd=shop.project)
        shop.host.run("pkill", "--full", "answer.py")
    shop.host.run("rm", f"{shop.project}/answer.py")


# Of a release that serves: it binds the private socket of its candidate anew, and answers in its name.
IMPOSTOR = """
import glob, os, socket, threading, time
mine = os.environ.get("GAPLESS_PRIVATE", "")

def answer(sock, release):
    while True:
        asker, _ = sock.accept()
        asker.recv(65536)
        asker.sendall(f"HTTP/1.1 200 OK\\r\\ngapless-release: {release}\\r\\ncontent-length: 0\\r\\n\\r\\n".encode())
        asker.close()

def lie():
    taken = {mine}
    while True:
        for path in {*glob.glob("/run/gapless/*/*.sock")} - taken:
            taken.add(path)
            try:
                sock = socket.socket(socket.AF_UNIX)
                sock.bind(path + ".lie")
                sock.listen()
                os.rename(path + ".lie", path)
            except OSError:
                continue
            print("took over", path, flush=True)
            release = os.path.basename(path).removesuffix(".sock")
            threading.Thread(target=answer, args=(sock, release), daemon=True).start()
        time.sleep(0.001)

threading.Thread(target=lie, daemon=True).start()
"""


@pytest.mark.parametrize("rehearse", ["false", "true"])
def test_a_live_release_that_answers_for_its_candidate(shop: Shop, rehearse: str) -> None:
    """Invariants 3 and 4: a release whose check fails is not proven by what another process says in its name."""
    shop.write(app=IMPOSTOR)
    live = shop.deploy()
    shop.settled()
    shop.write(config=f'[check]\npath = "/"\ntimeout = "3s"\nrehearse = {rehearse}')
    app = shop.host.read(f"{shop.project}/app.py").replace('"status": 200', '"status": 500')
    shop.host.write(f"{shop.project}/app.py", app)
    toml = shop.host.read(f"{shop.project}/gapless.toml").replace('check = { path = "/", timeout = "20s" }\n', "")
    if rehearse == "true":  # by a server that does not check itself
        toml = toml.replace("app:app", "app:app --check=")
    shop.host.write(f"{shop.project}/gapless.toml", toml)
    said = shop.fails("deploy")
    if rehearse == "true":
        assert "in its rehearsal GET / answered 500" in said
        assert "took over /run/gapless/shop.rehearsal" not in shop("logs", live).stdout
    else:
        assert "GET / in private: it answered 500" in said
        wait_until(lambda: "took over" in shop("logs", live).stdout)
    assert shop.current() == live
    shop.write()
    shop.deploy()
    shop.settled()


def test_a_link_to_the_private_socket_of_another_app(shop: Shop) -> None:
    """Invariants 1 and 9: root does not tell the server of another app to accept no more."""
    other = Shop(shop.host, "other", 8001)
    other.write()
    other("up")
    mine, others = shop.current(), other.current()
    as_the_app(shop, f"rm {mine}.sock; ln -s ../other/{others}.sock {mine}.sock")
    shop("deploy", "--watch", "1s")
    assert other.get().startswith(others)
    assert other.live()["status"]["state"] == "serving"
    other.remove()


def test_a_directory_in_the_way_of_private_sockets(shop: Shop) -> None:
    """Invariant 3: what serves now cannot keep its successors, or those before it, from taking over."""
    first = shop.current()
    as_the_app(shop, "mkdir -p x.rehearsal.sock/inner")
    assert shop.deploy() != first
    as_the_app(shop, f"mkdir -p {first}.sock/inner")
    shop("rollback")


CLINGS = """
import os, subprocess, sys
old = min(os.listdir(".."))
claim = {**os.environ, "GAPLESS_RELEASE": old}
subprocess.Popen(["sleep", "1000"], cwd="../" + old, env=claim)
"""


def test_an_app_that_clings_to_a_release(shop: Shop) -> None:
    """Invariant 12: what runs in the unit of one release does not keep another, wherever it works, whatever it says."""
    first = shop.current()
    shop.write(app=CLINGS, config="release = { keep = 2 }")
    for _ in range(2):
        shop.settled()
        shop.deploy()
    assert shop.host.run("pgrep", "--full", "sleep 1000").stdout
    assert first not in shop.host.run("ls", "/srv/shop/releases").stdout.split()


STAYS = """
import os, signal, socket, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)

def send(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.sendto(text.encode(), os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))

send("READY=1")
while True:
    send("EXTEND_TIMEOUT_USEC=600000000")
    time.sleep(0.2)
"""


def test_a_rehearsal_that_does_not_end(shop: Shop) -> None:
    """Invariants 3 and 5: who asks systemd for more and more time to stop is killed, and holds up no later deploy."""
    first = shop.live()
    shop.host.write(f"{shop.project}/stays.py", STAYS)
    toml = shop.host.read(f"{shop.project}/gapless.toml").replace("gapless serve app:app", "python3 stays.py")
    shop.host.write(f"{shop.project}/gapless.toml", toml.replace("20s", "2s"))
    assert "in its rehearsal GET / got no answer" in shop.fails("deploy")
    assert shop.live()["pid"] == first["pid"]
    assert shop.host.run("pgrep", "--full", "stays.py", check=False).stdout == ""
    shop.host.run("rm", f"{shop.project}/stays.py")
    shop.write()
    shop.deploy()


def test_a_socket_where_others_can_write(host: Host) -> None:
    """Invariants 8 and 9: root binds, and removes what is in the way, in no directory of the app or of anybody."""
    shop = Shop(host, "unixed", 8005)
    places = {
        "/tmp/unixed.sock": "anybody can write to /tmp",  # noqa: S108 -- it is refused
        "/home/alice/run/x.sock": "/home/alice/run belongs to alice",
        "/opt/sock/deep/x.sock": "the group alice can write to /opt/sock",
        "/opt/link/x.sock": "/opt/link belongs to alice",
    }
    host.run("useradd", "--create-home", "alice")
    host.run(
        "sh", "-c", "mkdir -p /home/alice/run /opt/sock/deep; chown alice /home/alice/run; ln -s /home/alice /opt/link"
    )
    host.run("sh", "-c", "chgrp alice /opt/sock; chmod g+w /opt/sock")
    for path, why in places.items():
        shop.write()
        toml = host.read(f"{shop.project}/gapless.toml").replace("127.0.0.1:8005", f"unix:{path}")
        host.write(f"{shop.project}/gapless.toml", toml)
        said = shop.fails("up")
        assert why in said
        assert "/run/unixed.sock" in said
        assert shop.left() == ""
    host.write(f"{shop.project}/gapless.toml", toml.replace(path, "/run/unixed.sock"))
    shop("up")
    toml = toml.replace(path, "/srv/unixed/shared/x.sock")
    host.write(f"{shop.project}/gapless.toml", toml)
    assert "/srv/unixed/shared belongs to unixed" in shop.fails("up", "--close-socket")
    shop.remove()
    assert shop.left() == ""


def test_an_app_that_does_not_end(host: Host) -> None:
    """Invariants 8 and 9: who asks systemd for more and more time to stop holds up neither `up` nor `down`."""
    shop = Shop(host, "lingerer", 8003)
    shop.write()
    host.write(f"{shop.project}/stays.py", STAYS)
    toml = (
        'name = "lingerer"\ncommand = "python3 stays.py"\nlisten = "127.0.0.1:8003"\n'
        "[check]\nrehearse = false\n[drain]\nlinger = 0\nrequests = 0\nstreams = 0\n"
    )
    host.write(f"{shop.project}/gapless.toml", toml)
    # The 15 s that a unit has without any drain are a long time for a test.
    drop_in = "/run/systemd/system/lingerer@.service.d/soon.conf"
    host.write(drop_in, "[Service]\nTimeoutStopSec=1\n")
    shop("up")
    host.write(f"{shop.project}/gapless.toml", toml.replace("8003", "8004"))
    shop("up", "--close-socket")
    shop.remove()
    host.run("rm", "-r", str(Path(drop_in).parent))
    assert shop.left() == ""
    assert host.run("pgrep", "--full", "stays.py", check=False).stdout == ""


def test_directories_without_an_end(host: Host) -> None:
    """Invariants 5 and 8: what an app nests too deeply for Python is removed with it all the same."""
    shop = Shop(host, "nested", 8002)
    shop.write()
    shop("up")
    nest = "import os\nfor _ in range(1500):\n    os.mkdir('d')\n    os.chdir('d')\n"
    for place in ("/run/gapless/nested", "/srv/nested/shared"):
        shop("exec", "--", "sh", "-c", 'cd "$0" && exec python3 -c "$1"', place, nest)
    shop.remove()
    assert shop.left() == ""


def test_a_link_of_a_release_to_what_the_app_makes(host: Host) -> None:
    """Invariant 8: doctor waits for no pipe that stands where a program of the release leads."""
    shop = Shop(host, "piper", 8012)
    shop.write()
    shop("up")
    shop("exec", "--", "sh", "-ec", "cp /bin/true /srv/piper/shared/tool")
    build = "ln -s /srv/piper/shared/tool tool"
    shop.write(config=f'build = {{ run = "{build}" }}\ntimers.t = {{ command = "./tool", calendar = "2099-01-01" }}')
    shop.deploy()
    for make in ("mkfifo", "ln -sfn /dev/zero", "printf '#!%100000s' x >"):
        shop("exec", "--", "sh", "-ec", f"rm -f /srv/piper/shared/tool; {make} /srv/piper/shared/tool")
        done = host.run("timeout", "30", *GAPLESS, "doctor", cwd=shop.project, check=False)
        assert "piper" in done.stdout
        assert "Traceback" not in done.stderr
    shop.remove()
    assert shop.left() == ""
