"""Libraries as apps have them, in the sandbox: what lives with its defaults, and which switch the others are told."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.config.settings import Sandbox
from gapless.switch.symptoms import Kind, recognise
from tests.host.host import PROJECTS, Host
from tests.host.life import Shop, leaving_nothing
from tests.support import GAPLESS, wait_until

# Does what $TRIES names as it is loaded, and what a visitor names as he asks.
APP = """
import ctypes, json, os, socket, subprocess, threading, traceback

def figures():
    import prometheus_client, psutil
    assert psutil.virtual_memory().total and psutil.boot_time() and psutil.Process().create_time()
    said = prometheus_client.generate_latest().decode()  # without them it says less, and fails nothing
    assert "process_start_time_seconds" in said and "process_resident_memory_bytes" in said, said
    return {one.uids().real for one in psutil.process_iter()} == {os.getuid()}

def addresses():
    import psutil
    return "lo" in psutil.net_if_addrs()

def owner():
    os.chown(written(), os.getuid(), os.getgid())
    return True

def trampoline():
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x)(1)

def callback():
    import cffi
    return cffi.FFI().callback("int(int)", lambda x: x)(1)

def nice():
    return os.nice(1)

def affinity():
    import psutil
    return psutil.Process().cpu_affinity([0]) is None

def dial():
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", 9)) > 0

def give_away():
    os.chown(written(), 0, 0)

def become():
    os.setgroups([0])

def sudo():
    subprocess.run(["sudo", "true"], check=True)

def chromium():
    print("FATAL:zygote_host_impl_linux.cc(127)] No usable sandbox! Update your kernel", flush=True)

def written():
    path = os.path.expandvars("$GAPLESS_SHARED/written")
    open(path, "w").close()
    return path

for name in os.environ.get("TRIES", "").split():
    globals()[name]()

async def app(scope, receive, send):
    name, said = scope["query_string"].decode(), True
    try:
        said = globals()[name]() if name else said
    except Exception:
        said = None
        traceback.print_exc()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})
"""
LIVES = ("figures", "addresses", "owner", "trampoline")
# What is refused, under which settings, and the setting that the failed deploy names.
SWITCHES = {
    "callback": ("", "jit = true"),
    "nice": ("", "priority = true"),
    "figures": ('proc = "pid"', 'proc = "all"'),
    "dial": ('network = "none"', 'network = "full"'),
}
NEVER = {
    "give_away": "leave that chown out: ",
    "become": "leave the user and the group out of its settings: ",
    "chromium": "start it without a sandbox of its own ",
    "sudo": "leave sudo out: ",
}
SERVER = """
import os, select, socket, threading
one = threading.Thread(target=print, args=("a thread runs",))
one.start()
one.join()
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
    manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
held = socket.socket(fileno=3)
while select.select([held], [], []):
    try:  # who else has the socket may be faster, or have made it non-blocking for all
        client = held.accept()[0]
    except BlockingIOError:
        continue
    with client:
        client.setblocking(True)
        client.recv(65536)
        client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
"""
NODE = "console.log(os.cpus().length > 0 && Object.keys(os.networkInterfaces()).includes('lo'))"
# Of a copy of a program: its stack can be executed, elf(5).
EXECUTABLE = """
import os, struct, sys
with open(sys.argv[1], "rb") as file:
    data = bytearray(file.read())
[start], [size, count] = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
for at in range(start, start + size * count, size):
    if struct.unpack_from("<I", data, at)[0] == 0x6474E551:
        struct.pack_into("<I", data, at + 4, 7)
with open(sys.argv[2], "wb") as file:
    file.write(data)
os.chmod(sys.argv[2], 0o755)
"""


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app that tries what it is told to, up."""
    with leaving_nothing(Shop(host, "shop", 8000)) as one:
        write(one)
        one("up")
        yield one


def write(shop: Shop, tries: str = "", sandbox: str = "") -> None:
    """The next release: as it is loaded it tries something, with a setting of the sandbox."""
    shop.write(config=f"env = {{ TRIES = '{tries}' }}\n[sandbox]\n{sandbox}\n")
    shop.host.write(f"{shop.project}/app.py", APP)


def tried(shop: Shop, name: str) -> object:
    """What comes of it, of a visitor's request; None where it failed."""
    return json.loads(shop.get(f"/?{name}"))


def test_what_common_libraries_ask_of_the_system(shop: Shop) -> None:
    """psutil, prometheus_client, ctypes and a chown of what is one's own: the defaults allow it, and show no others."""
    write(shop)
    shop.deploy()
    assert {name: tried(shop, name) for name in LIVES} == dict.fromkeys(LIVES, True) | {"trampoline": 1}
    assert shop("logs").stderr == ""
    assert [one["state"] for one in found(shop, "sandbox")] == ["ok"]


def test_the_switch_of_what_is_refused(shop: Shop) -> None:
    """Invariants 3 and 8: each failed deploy names it, and with these settings, word for word, all of it is allowed."""
    before = shop.current()
    for tries, (sandbox, setting) in SWITCHES.items():
        write(shop, tries, sandbox)
        assert f"Try:   in gapless.toml: [sandbox] {setting}; all its output: `gapless logs " in shop.fails("deploy")
    assert shop.current() == before
    write(shop, " ".join([*SWITCHES, "affinity"]), "\n".join(setting for _, setting in SWITCHES.values()))
    assert shop.deploy() == shop.current()


def test_what_no_setting_allows(shop: Shop) -> None:
    """Invariant 8: `logs` and `doctor` say it once each, however often it is tried; what is left out is no trouble."""
    write(shop)
    shop.deploy()
    assert [tried(shop, name) for name in (*NEVER, *NEVER)] == [None] * 2 * len(NEVER)
    told = shop("logs", "--lines", "1000").stderr.splitlines()
    assert [line.startswith(f"Try:   {advice}") for line, advice in zip(told, NEVER.values(), strict=True)] == [
        True
    ] * 4
    document = json.loads(shop("logs", "--json", "--lines", "1000").stdout)
    assert [one["hint"] for one in document["advice"]] == [one["hint"] for one in found(shop, "sandbox")]
    assert shop("logs", "-q").stderr == ""
    shop.deploy()
    assert shop("logs").stderr == ""


def test_what_is_refused_while_somebody_looks_on(shop: Shop) -> None:
    """Invariant 8: `logs -f` says it as it happens, once."""
    write(shop)
    shop.deploy()
    path = f"{PROJECTS}/told"
    shop.host.write(path, "")
    follow = shop.host.popen("sh", "-c", f"exec {shlex.join(GAPLESS)} logs -f > {path} 2>&1", cwd=shop.project)
    try:
        wait_until(lambda: tried(shop, "nice") is None and "[sandbox] priority = true" in shop.host.read(path), 30)
        before = shop.host.read(path).count("not permitted")
        wait_until(lambda: tried(shop, "nice") is None and shop.host.read(path).count("not permitted") > before + 1, 30)
        assert shop.host.read(path).count("Try:   in gapless.toml: [sandbox] priority = true (for: ") == 1
    finally:
        follow.kill()
        follow.communicate(timeout=30)


def test_node(shop: Shop) -> None:
    """It makes code while it runs: without `jit` it dies and what it says is known; with it, it knows its host."""
    subprocess.run([str(Path(__file__).with_name("requirements.sh")), "servers"], check=True, timeout=300)
    write(shop)
    shop.deploy()
    died = shop("exec", "node", "-e", NODE, check=False)
    assert [one.kind for one in recognise(died.stderr.splitlines(), Sandbox())] == [Kind.JIT], died.stderr
    write(shop, sandbox="jit = true")
    shop.deploy()
    assert shop("exec", "node", "-e", NODE).stdout == "true\n"


def test_an_interpreter_with_an_executable_stack(host: Host) -> None:
    """Invariant 8: it starts no thread; the failed `up` says what it may be, doctor that it is, and `jit` mends it."""
    with leaving_nothing(Shop(host, "stack", 8001)) as one:
        one.write()
        text = host.read(f"{one.project}/gapless.toml").replace("gapless serve app:app", "./python server.py")
        host.write(f"{one.project}/gapless.toml", text)
        host.write(f"{one.project}/server.py", SERVER)
        host.run("/usr/bin/python3", "-c", EXECUTABLE, "/usr/bin/python3", f"{one.project}/python")
        assert (
            "if its interpreter has an executable stack (`gapless doctor` says so): [sandbox] jit = true"
            in one.fails("up")
        )
        [programs] = found(one, "programs")
        assert "asks for an executable stack" in programs["what"]
        host.write(f"{one.project}/gapless.toml", f"{text}\n[sandbox]\n{programs['hint'].partition('[sandbox] ')[2]}\n")
        one("up")
        assert one.get() == "ok"


def found(shop: Shop, name: str) -> list[dict[str, str]]:
    """What doctor says of one thing."""
    findings = json.loads(shop("doctor", "--json", check=False).stdout)["findings"]
    return [one for one in findings if one["name"] == name]
