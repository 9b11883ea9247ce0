"""A hostile build, and what it leaves: files that others may write, links, descriptors in the hands of the app."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.host import Host
from tests.host.life import Shop, app_up
from tests.support import wait_until

TREE = "/srv/shop/releases"
REFUSALS = {
    *("Permission denied", "Operation not permitted", "Read-only file system", "No such file or directory"),
    *("Invalid cross-device link", "Invalid argument"),  # another mount; a user that is not there in its namespace
}
XATTRS = """
import os, sys
for folder, folders, files in os.walk(sys.argv[1]):
    for path in (folder, *(os.path.join(folder, name) for name in files)):
        if found := [one for one in os.listxattr(path, follow_symlinks=False) if not one.startswith("user.")]:
            print(path, found)
"""
# Part of every hostile program below: what came of each try, by its name.
TRIES = """
import json, os, pathlib, signal, socket, struct, subprocess

RELEASES, SHARED, FOUND = "/srv/shop/releases", os.environ["GAPLESS_SHARED"], {}

def attempt(name, call, *argv, **options):
    try:
        found = call(*argv, **options)
    except OSError as error:
        FOUND[name] = os.strerror(error.errno)
    else:
        FOUND[name] = repr(found)

def write(path):
    with open(path, "a") as file:
        file.write("evil")

def connect(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(path)
"""
HOSTILE = (
    TRIES
    + """
old, pid = os.environ["OLD"], int(os.environ["LIVE"])
attempt("write shared", write, SHARED + "/evil")
attempt("list shared", os.listdir, SHARED)
attempt("write another release", write, f"{RELEASES}/{old}/app.py")
attempt("add to another release", write, f"{RELEASES}/{old}/evil.py")
attempt("remove another release", os.rename, f"{RELEASES}/{old}", f"{RELEASES}/.removing-{old}")
attempt("make a release", os.mkdir, f"{RELEASES}/20990101T000000Z-evil000")
for name in ("env", "secrets", "log", "reports"):
    attempt(f"list {name}", os.listdir, f"/srv/shop/{name}")
for name in ("lock", "holder.json", "ledger.jsonl", "current.new-1", "adopted"):
    attempt(f"write {name}", write, f"/srv/shop/{name}")
attempt("write a unit", write, "/run/systemd/system/shop.socket")
private = f"/run/gapless/shop/{old}.sock"
attempt("speak with the private socket", connect, private)
attempt("remove the private socket", os.unlink, private)
attempt("list the private sockets", os.listdir, "/run/gapless/shop")
attempt("bind a private socket", socket.socket(socket.AF_UNIX).bind, "/run/gapless/shop/evil.sock")
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGUSR1):
    attempt(f"kill {number}", os.kill, pid, number)
attempt("environ", pathlib.Path(f"/proc/{pid}/environ").read_bytes)
attempt("memory", open, f"/proc/{pid}/mem", "r+b")
attempt("root", os.listdir, f"/proc/{pid}/root/srv/shop/shared")
attempt("set-id", os.chmod, "app.py", 0o4755)
attempt("become the app", os.setuid, os.stat(SHARED).st_uid)
attempt("capability", os.setxattr, "app.py", "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))
attempt("link shadow", os.link, "/etc/shadow", "shadow")
attempt("read shadow", pathlib.Path("/etc/shadow").read_text)
for verb in ("stop", "kill"):
    done = subprocess.run(["systemctl", "--no-ask-password", verb, f"shop@{old}.service"], capture_output=True)
    FOUND[f"systemctl {verb}"] = str(done.returncode)
attempt("kill everybody", os.kill, -1, signal.SIGKILL)
pathlib.Path("found.json").write_text(json.dumps(FOUND))
"""
)
LINKED = """
import os, pathlib
os.mkdir("d")
for name in ("lib.py", "cached.py"):
    pathlib.Path(name).write_text("one")
os.link("lib.py", "d/lib.py")
"""
PROGRAMS = """
import os, shutil
os.makedirs("bin/inner")
for name in ("set", "cap", "acl", "linked"):
    shutil.copy("/bin/sh", f"bin/{name}")
os.link("bin/linked", "bin/inner/linked")
"""
# capabilities(7), acl(5) as the kernel keeps them: CAP_SETUID and CAP_NET_RAW; everything for the user 1.
RIGHTS = """
import contextlib, os, struct, sys
os.chdir(sys.argv[1])
for name in ("set", "linked", "inner", "."):
    os.chmod(name, 0o6777)
for name in ("cap", "linked"):
    os.setxattr(name, "security.capability", struct.pack("<5I", 0x02000001, 1 << 7 | 1 << 13, 0, 0, 0))
entries = [(1, 6, -1), (2, 7, 1), (4, 4, -1), (0x10, 7, -1), (0x20, 4, -1)]
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
for name, kind in (("acl", "access"), ("inner", "access"), ("inner", "default")):
    with contextlib.suppress(OSError):  # this disk has none
        os.setxattr(name, f"system.posix_acl_{kind}", acl)
"""
# Run as the app's user, it is the build's accomplice: it takes descriptors, and does with them all that it can.
ACCOMPLICE = """
import array, json, os, pathlib, socket, time

FOUND = {}

def attempt(name, call):
    try:
        call()
        FOUND[name] = "done"
    except OSError as error:
        FOUND[name] = os.strerror(error.errno)

with socket.socket(socket.AF_UNIX) as listening:
    listening.bind("\\0accomplice")
    listening.listen()
    print("listens", flush=True)
    peer, _ = listening.accept()
    file, reader, folder, inner = array.array("i", peer.recvmsg(1, 1000)[1][0][2])
os.write(os.open(f"/proc/self/fd/{reader}", os.O_RDWR), b"could")  # unsealed, it is anybody's
peer.sendall(b"!")
# While it is sealed: new files by the descriptors of directories, as long as they let him.
made, number, end = [], 0, time.monotonic() + 20
closed = {}
while len(closed) < 2 and time.monotonic() < end:
    for where in {folder, inner} - set(closed):
        name, number = f"late-{number}", number + 1
        try:
            made.append((os.open(name, os.O_RDWR | os.O_CREAT, 0o666, dir_fd=where), name, where))
            if len(made) > 600:
                old, other, there = made.pop(0)
                os.close(old)
                os.unlink(other, dir_fd=there)
        except OSError as error:
            closed[where] = os.strerror(error.errno)
FOUND |= {f"closed {where}": said for where, said in closed.items()}
FOUND["late"] = number
while not pathlib.Path(os.environ["GAPLESS_SHARED"], "sealed").exists():
    time.sleep(0.02)
for descriptor, *_ in made:
    os.write(descriptor, b"evil")
attempt("write", lambda: os.pwrite(file, b"evil", 0))
attempt("truncate", lambda: os.ftruncate(file, 3))
attempt("open again", lambda: os.open(f"/proc/self/fd/{reader}", os.O_RDWR))
attempt("add", lambda: os.open("evil.py", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
attempt("unlink", lambda: os.unlink("app.py", dir_fd=folder))
attempt("rename", lambda: os.rename("app.py", "b.py", src_dir_fd=folder, dst_dir_fd=folder))
attempt("open for all", lambda: os.fchmod(inner, 0o777))
print(json.dumps(FOUND))
"""
GIVE = """
import array, os, pathlib, socket
os.makedirs("inner")
for name in ("app.py", "reader.py", "inner/x.py"):
    pathlib.Path(name).touch()
    os.chmod(name, 0o666)
for name in (".", "inner"):
    os.chmod(name, 0o777)
held = [os.open("app.py", os.O_RDWR), *(os.open(name, os.O_RDONLY) for name in ("reader.py", ".", "inner"))]
with socket.socket(socket.AF_UNIX) as one:
    one.connect("\\0accomplice")
    one.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", held))])
    one.recv(1)
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
    app.host.run("sh", "-c", f"rm -rf {app.project}")
    app.write()
    return app


@contextlib.contextmanager
def waiting_build(shop: Shop, script: str) -> Iterator[str]:
    """A deploy whose build has done `script` and waits, until the block ends; gives the path of its release."""
    host = shop.host
    host.write(f"{shop.project}/hostile.py", script)
    shop.write(
        config='[build]\nrun = "python3 hostile.py; touch waits; while [ ! -e go ]; do sleep 0.05; done; rm waits go"\n'
    )
    deploy = shop.popen("deploy")
    found = wait_until(lambda: host.run("sh", "-c", f"ls -d {TREE}/*/waits", check=False).stdout.strip(), 30)
    tree = found.removesuffix("/waits")
    yield tree
    host.run("touch", f"{tree}/go")
    said, _ = deploy.communicate(timeout=60)
    assert deploy.returncode == 0, said


def sealed(shop: Shop, release: str) -> None:
    """All in the release is root's, nobody else may write it, and nothing in it has a right of its own."""
    tree, run = f"{TREE}/{release}", shop.host.run
    assert run("find", tree, "(", "!", "-user", "root", "-o", "!", "-group", "root", ")", "-print").stdout == ""
    assert run("find", tree, "!", "-type", "l", "-perm", "/7022", "-print").stdout == ""
    assert run("find", tree, "-type", "f", "-links", "+1", "-print").stdout == ""
    assert run("python3", "-c", XATTRS, tree).stdout == ""


def test_a_build_against_everything_around_it(shop: Shop) -> None:
    """Invariants 3, 9 and 10: its own account reaches its release and its cache, and neither data nor what serves."""
    host, live = shop.host, shop.live()
    host.write(f"{shop.project}/hostile.py", HOSTILE)
    env = f'[env]\nOLD = "{live["release"]}"\nLIVE = "{live["pid"]}"\n'
    shop.write(config=f'{env}[build]\nrun = ["python3", "hostile.py"]\n[release]\nmigrate = "sleep 0.5"\n')
    ids = ("stat", "-c", "%n %i %U:%G %a", "/run/gapless/shop", f"/run/gapless/shop/{live['release']}.sock")
    before = host.run(*ids).stdout
    deploy = shop.popen("deploy")
    wait_until(lambda: "migrate" in host.run("cat", "/srv/shop/holder.json", check=False).stdout, 30)
    assert host.run(*ids).stdout == before
    assert shop.live()["pid"] == live["pid"]
    said, _ = deploy.communicate(timeout=60)
    assert deploy.returncode == 0, said
    found: dict[str, str] = json.loads(host.read(f"{TREE}/{shop.current()}/found.json"))
    # Nobody else has this account: so many processes as there are, only its own are there to be killed.
    assert found.pop("kill everybody") in ("No such process", "None")
    assert {found.pop("systemctl stop"), found.pop("systemctl kill")}.isdisjoint({"0"})
    assert {name: said for name, said in found.items() if said not in REFUSALS} == {}
    assert len(found) > 30
    sealed(shop, shop.current())


def test_the_app_and_the_cache_of_its_builds(shop: Shop) -> None:
    """Invariant 9: what a build finds in its cache no app has put there, even if a build would let it."""
    shop.write(config="[build]\nrun = 'echo kept > $HOME/kept; chmod 777 $HOME $HOME/kept'\n")
    shop.deploy()
    for command in ("ls $0", "cat $0/kept", "echo evil > $0/kept", "rmdir $0", "mv $0 $0-old"):
        done = shop("exec", "--", "sh", "-c", command, "/srv/shop/cache", check=False)
        assert done.returncode != 0, command
        assert any(why in done.stderr for why in ("Permission denied", "Read-only file system"))
    assert shop.host.read("/srv/shop/cache/kept") == "kept\n"


def test_files_with_a_second_name(shop: Shop) -> None:
    """Invariant 9: a release's file is in no cache and no other release: no later build changes what serves."""
    host = shop.host
    with waiting_build(shop, LINKED) as tree:  # a build itself cannot: to it these are two disks
        host.run("ln", f"{tree}/cached.py", "/srv/shop/cache/cached.py")
    names = [f"{tree}/lib.py", f"{tree}/d/lib.py", f"{tree}/cached.py", "/srv/shop/cache/cached.py"]
    inodes = host.run("stat", "-c", "%i %U", *names).stdout.splitlines()
    assert len({line.split()[0] for line in inodes}) == 4
    assert [line.split()[1] for line in inodes] == ["root", "root", "root", "shop-build"]
    run = f"echo evil > $HOME/cached.py; ln {tree}/lib.py own || echo refused; ln $HOME/cached.py x || echo refused"
    shop.write(config=f"[build]\nrun = '{run}'\n")
    release = shop.deploy()
    assert host.read(f"/srv/shop/log/{release}.log").count("refused\n") == 2
    assert host.read(f"{tree}/cached.py") == "one"
    sealed(shop, tree.rpartition("/")[2])
    sealed(shop, release)


def test_descriptors_that_a_build_gives_to_the_app(shop: Shop) -> None:
    """Invariant 9: neither an open file nor an open directory changes what is sealed, not even while it is sealed."""
    host = shop.host
    host.write(f"{shop.project}/give.py", GIVE)
    host.write(f"{shop.project}/accomplice.py", ACCOMPLICE)
    shop.deploy()
    host.run("rm", "-f", "/srv/shop/shared/sealed")
    accomplice = shop.popen("exec", "--", "python3", "accomplice.py")
    assert accomplice.stdout is not None
    assert accomplice.stdout.readline() == "listens\n"
    shop.write(config='[build]\nrun = ["python3", "give.py"]\n')
    release = shop.deploy()
    before = host.read(f"{TREE}/{release}/app.py")
    host.run("touch", "/srv/shop/shared/sealed")
    found: dict[str, Any] = json.loads(accomplice.communicate(timeout=60)[0])
    assert found.pop("late") > 100  # it raced
    found.pop("write"), found.pop("truncate")  # into a file that has no name any more
    assert set(found.values()) == {"Permission denied", "Operation not permitted"}
    assert host.read(f"{TREE}/{release}/app.py") == before
    sealed(shop, release)
    assert host.run("grep", "-rl", "evil", f"{TREE}/{release}", "--exclude=*accomplice*", check=False).stdout == ""


READER = """
import array, os, pathlib, socket, time

with socket.socket(socket.AF_UNIX) as listening:
    listening.bind("\\0reader")
    listening.listen()
    print("listens", flush=True)
    held = [array.array("i", listening.accept()[0].recvmsg(1, 100)[1][0][2])[0] for _ in range(2)]
while not pathlib.Path(os.environ["GAPLESS_SHARED"], "over").exists():
    time.sleep(0.02)
for descriptor in held:
    os.write(descriptor, b"evil")
    os.ftruncate(descriptor, 1 << 40)
"""
GIVES_LOG = """
import array, socket
print("said")
with socket.socket(socket.AF_UNIX) as one:
    one.connect("\\0reader")
    one.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1]))])
"""


def test_the_log_of_a_build_in_the_hands_of_the_app(shop: Shop) -> None:
    """Invariant 9: what a build and a migration had as their output, nobody writes, fills or empties afterwards."""
    host = shop.host
    host.write(f"{shop.project}/gives.py", GIVES_LOG)
    host.write(f"{shop.project}/reader.py", READER)
    shop.deploy()
    host.run("rm", "-f", "/srv/shop/shared/over")
    accomplice = shop.popen("exec", "--", "python3", "reader.py")
    assert accomplice.stdout is not None
    assert accomplice.stdout.readline() == "listens\n"
    shop.write(config='build = { run = ["python3", "gives.py"] }\nrelease = { migrate = "python3 gives.py" }\n')
    release = shop.deploy()
    host.run("touch", "/srv/shop/shared/over")
    said = accomplice.communicate(timeout=60)[0]
    assert accomplice.returncode == 0, said
    assert host.run("head", "-c", "100", f"/srv/shop/log/{release}.log").stdout == "said\nsaid\n"


def test_a_build_that_says_more_than_a_disk_holds(shop: Shop) -> None:
    """Invariants 8 and 9: of what a build says without an end, its last lines are kept and shown."""
    host = shop.host
    shop.write(config="[build]\nrun = 'timeout 2 yes || true; echo the cause; exit 3'\n")
    said = shop.fails("deploy")
    assert "the cause" in said
    assert "status 3" in said
    newest = "$(ls -t /srv/shop/log/*.log | head -n 1)"
    assert int(host.run("sh", "-c", f"stat -c %s {newest}").stdout) <= 16 << 20
    assert host.run("sh", "-c", f"tail -n 1 {newest}").stdout == "the cause\n"


def test_links_to_what_is_roots(shop: Shop) -> None:
    """Invariant 9: root changes, reads and compiles nothing through a link that a build has put into its release."""
    targets = {"/etc/shadow": ("a.py", "link", "gapless.toml", ".venv/bin/x.py"), "/root": ("d",), "/": ("whole",)}
    links = [f"ln -sf {target} {name}; " for target, names in targets.items() for name in names]
    run = f"mkdir -p .venv/bin; ln -s ../../../cache .venv/lib; {''.join(links)}"
    shop.write(config=f"[build]\nrun = '{run}'\n")
    ids = ("stat", "-c", "%i %U:%G %a %z", "/etc/shadow", "/root")
    before = shop.host.run(*ids).stdout
    first = shop.deploy()
    shop.write()
    shop.deploy()
    shop("rollback", first)
    for verb in ("status", "releases", "logs", "doctor", "config"):
        done = shop(verb, check=False)
        assert "root:" not in done.stdout + done.stderr
    assert shop("up").stdout.startswith("Already up")
    assert shop.host.run(*ids).stdout == before
    sealed(shop, first)


def test_rights_that_a_build_leaves(shop: Shop) -> None:
    """Invariants 9 and 13: set-id bits, capabilities and access lists do not outlive sealing, whoever gave them."""
    host = shop.host
    with waiting_build(shop, PROGRAMS) as tree:  # what a build itself may not, root does for it
        host.run("python3", "-c", RIGHTS, f"{tree}/bin")
        assert "security.capability" in host.run("python3", "-c", XATTRS, tree).stdout
        assert host.run("find", tree, "-perm", "/6000", "-print").stdout.count("\n") == 5
    sealed(shop, shop.current())


def test_a_pipe_and_a_socket_that_a_build_leaves(shop: Shop) -> None:
    """Invariants 3 and 8: refused by name, root does not wait for anybody at the pipe's other end."""
    live = shop.live()
    for make in (
        "mkfifo inner/trap.py",
        """python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("inner/trap.py")'""",
    ):
        shop.write(config=f"[build]\nrun = '''mkdir inner; {make}'''\n")
        said = shop.fails("deploy")
        assert "inner/trap.py: it is a pipe, a socket or a device" in said
    assert shop.live()["pid"] == live["pid"]
