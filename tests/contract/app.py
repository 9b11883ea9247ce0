"""The release of the contract tests: the standard library only, and a behaviour to choose by $BEHAVIOUR.

It adopts descriptor 3, says READY=1, answers every request with "<release> <pid>", and on SIGTERM stops
accepting, finishes what it accepted and ends. GET /hold is answered once the file `go` is there.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

SHARED = Path(os.environ["GAPLESS_SHARED"])
RELEASE = os.environ["GAPLESS_RELEASE"]


def notify(message: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        name = os.environ["NOTIFY_SOCKET"]
        sender.connect("\0" + name[1:] if name.startswith("@") else name)
        sender.sendall(message.encode())


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(TimeoutError):  # a stranger on loopback who says nothing
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = connection.recv(65536)
            if not chunk:
                return
            head += chunk
        if head.startswith(b"GET /hold "):
            wait_for(SHARED / "go")
        body = f"{RELEASE} {os.getpid()}".encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def serve(listener: socket.socket) -> None:
    woken, wake = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(wake, b"."))
    notify("READY=1")
    threads = []
    watched: list[socket.socket | int] = [listener, woken]
    while woken not in (readable := select.select(watched, [], [])[0]):
        if listener in readable:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                continue  # the other release was faster
            connection.settimeout(10)
            threads.append(threading.Thread(target=answer, args=(connection,)))
            threads[-1].start()
    listener.close()
    for thread in threads:
        thread.join()


def leave(_listener: socket.socket) -> None:
    sys.exit(3)


def crash(_listener: socket.socket) -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(_listener: socket.socket) -> None:
    signal.pause()


def ignore(_listener: socket.socket) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


def boot_late(_listener: socket.socket) -> None:
    wait_for(SHARED / "ready")


def meddle(listener: socket.socket) -> None:
    listener.listen(1)
    listener.setblocking(True)


def fork_worker(listener: socket.socket) -> None:
    if os.fork() == 0:
        (SHARED / "worker").write_text(str(os.getpid()))
        ignore(listener)


def leave_orphan(_listener: socket.socket) -> None:
    """A process in a session of its own whose parent is gone; it ends once the file `go` is there."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            (SHARED / "orphan").write_text(str(os.getpid()))
            wait_for(SHARED / "go")
        os._exit(0)
    os.wait()


def stop_on_usr1(_listener: socket.socket) -> None:
    signal.signal(signal.SIGUSR1, lambda *_: notify("STOPPING=1"))


def show_signals(_listener: socket.socket) -> None:
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda got, _: (SHARED / signal.Signals(got).name).touch())


BEHAVIOURS: dict[str, Callable[[socket.socket], None]] = {
    "": lambda _listener: None,
    "exits": leave,
    "crashes": crash,
    "hangs": hang,
    "ignores SIGTERM": ignore,
    "late": boot_late,
    "meddles": meddle,
    "forks": fork_worker,
    "orphans": leave_orphan,
    "stops by itself": stop_on_usr1,
    "shows signals": show_signals,
}


def main() -> None:
    assert os.environ["LISTEN_PID"] == str(os.getpid()), "the sockets are for another process"
    with (SHARED / "boots").open("a") as boots:
        boots.write(f"{RELEASE} {os.getpid()}\n")
    sys.stdout.write(f"hello from {RELEASE}\n")
    sys.stdout.flush()
    listener = socket.socket(fileno=3)
    BEHAVIOURS[os.environ["BEHAVIOUR"]](listener)
    serve(listener)


main()
