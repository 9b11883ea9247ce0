"""What outlives the unit or the command that it came from: processes of the app's account, shared memory."""

from __future__ import annotations

from tests.host.host import Host
from tests.host.life import Shop
from tests.support import wait_until

# As somebody who wants to stay: in a session of its own, deaf to what asks, and always two.
STAYS = """import os, signal, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
os.setsid()
while True:
    if os.fork() == 0:
        time.sleep(1000)
    os.wait()
"""
STAYING = ("pgrep", "--full", "^python3 -c .*os.setsid")
# Where processes that are gone leave something behind: files in memory, System V's segments, queues of messages.
SHARES = """
import ctypes, os, pathlib, sys
libc = ctypes.CDLL(None, use_errno=True)
found = sorted(os.listdir("/dev/shm")) + ["a segment"] * (libc.shmget(4711, 4096, 0) >= 0)
print("found", found, flush=True)
pathlib.Path("/dev/shm/left").write_text(sys.argv[1])
libc.shmget(4711, 4096, 0o1666)
"""


LEFT_BEHIND = ("sh", "-c", 'python3 -c "$0" > /dev/null 2>&1 < /dev/null &')


def test_what_the_account_of_an_app_runs(host: Host) -> None:
    """Invariants 8 and 10: an exec's ends with it; `down` ends the rest, or neither data nor user could be removed."""
    shop = Shop(host, "stayer", 8010)
    shop.write()
    shop("up")
    shop("exec", "--", *LEFT_BEHIND, STAYS)
    assert host.run(*STAYING, check=False).stdout == ""
    host.run(*LEFT_BEHIND, STAYS, user="stayer")
    wait_until(lambda: len(host.run(*STAYING, check=False).stdout.split()) == 2)
    shop.remove()
    assert host.run(*STAYING, check=False).stdout == ""
    assert shop.left() == ""


BOMB = """import os, resource, time
os.setsid()
resource.setrlimit(resource.RLIMIT_NPROC, (150, 150))
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.001)
"""


def test_one_who_starts_processes_faster_than_they_are_killed(host: Host) -> None:
    """Invariants 8 and 10: `down` ends them all in one call, as one after the other takes longer than a fork."""
    shop = Shop(host, "bomber", 8014)
    shop.write()
    shop("up")
    host.run(*LEFT_BEHIND, BOMB, user="bomber")
    bombs = ("pgrep", "--full", "^python3 -c .*RLIMIT_NPROC")
    try:
        wait_until(lambda: len(host.run(*bombs, check=False).stdout.split()) > 120)
        shop.remove()
        assert host.run(*bombs, check=False).stdout == ""
    finally:
        host.run("sh", "-c", "pkill -STOP -f [R]LIMIT_NPROC; pkill -KILL -f [R]LIMIT_NPROC", check=False)
    assert shop.left() == ""


def test_shared_memory_is_each_units_own(host: Host) -> None:
    """Invariant 10: neither a later build nor the app, and nobody on the host, finds what a build has left there."""
    shop = Shop(host, "sharer", 8011)
    shop.write(
        config='build = { run = "python3 shares.py build" }\nrelease = { migrate = "python3 shares.py migration" }'
    )
    host.write(f"{shop.project}/shares.py", SHARES)
    before = host.run("sh", "-c", "ls /dev/shm; cat /proc/sysvipc/shm").stdout
    shop("up")
    for _ in range(2):
        release = shop.deploy()
        log = host.read(f"/srv/sharer/log/{release}.log")
        assert log.count("found") == log.count("found []") == 2, log
        shop.settled()
    assert host.run("sh", "-c", "ls /dev/shm; cat /proc/sysvipc/shm").stdout == before
    shop.remove()
    assert shop.left() == ""
