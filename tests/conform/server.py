"""A server that does all that the battery asks, a thread a connection; FAULT names the one thing that it does wrong.

Standard library alone, and no drain but what is here: that the faults are easy to see is all that it is for.
"""

import base64
import contextlib
import hashlib
import os
import select
import signal
import socket
import sys
import threading
import time

from pretended import pretend

FAULT = os.environ.get("FAULT", "")
RELEASE = os.environ.get("GAPLESS_RELEASE", "")
LINGER, REQUESTS, STREAMS = (float(os.environ[f"GAPLESS_{name}"]) for name in ("LINGER", "REQUESTS", "STREAMS"))
HEAD_TIMEOUT = float(os.environ["GAPLESS_HEAD_TIMEOUT"])
LARGE = 8 << 20
MUCH = 1 << 20  # bytes of a head, or of a line of it

open_ = set()  # connections
idle = set()  # those without a request
heads = {}  # those on which a head has begun, and when
asked = set()  # those whose request has no answer yet
lock = threading.Lock()
terms = 0  # how often SIGTERM came
began = 0.0  # when it came first
loaded = threading.Event()
taken_at = []  # when connections were
after = []  # threads that work though their response is out


def main():
    sockets = adopt()
    early = FAULT == "accepts before it is ready"
    if early:
        threading.Thread(target=accept, args=(sockets,), daemon=True).start()
    if FAULT == "is ready before it has loaded":
        notify("READY=1")
    if FAULT == "ignores SIGTERM while it loads":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(float(os.environ.get("CONFORM_BOOT", "0")))
    if os.environ.get("CONFORM_BROKEN"):
        os._exit(0 if FAULT == "ends well though the app is broken" else 3)
    loaded.set()
    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGTERM, on_term)
    if FAULT != "never says READY=1":
        notify("READY=1")
    while early and not terms:
        time.sleep(0.01)
    accept(sockets)
    if FAULT == "removes the Unix socket" and isinstance(sockets[0].getsockname(), str):
        os.unlink(sockets[0].getsockname())
    if FAULT == "clears O_NONBLOCK at its end":
        sockets[0].setblocking(True)
    if FAULT == "shuts the socket down" or (FAULT == "owns what nobody spoke of" and not spoken_of()):
        sockets[0].shutdown(socket.SHUT_RDWR)
    for one in sockets:
        one.close()
    drain()
    os._exit(0)


def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])


def spoken_of():
    return "LISTEN_FDS" in os.environ or "SERVER_STARTER_PORT" in os.environ


def numbers():
    """The descriptors of our sockets, by LISTEN_FDS, as start_server has them, or the first."""
    if os.environ.get("SERVER_STARTER_PORT"):
        found = [int(one.rpartition("=")[2]) for one in os.environ["SERVER_STARTER_PORT"].split(";")]
        return found[:1] if FAULT == "takes one socket of start_server's" else found
    if "LISTEN_FDS" not in os.environ:
        if FAULT in ("takes any LISTEN_PID", "takes one socket"):  # of who takes a descriptor by its number, it is none
            sys.exit("there is no LISTEN_FDS")
        return [3]
    if os.environ.get("LISTEN_PID") != str(os.getpid()) and FAULT != "takes any LISTEN_PID":
        sys.exit("these sockets are for another process")
    return range(3, 3 + (1 if FAULT == "takes one socket" else int(os.environ["LISTEN_FDS"])))


def adopt():
    found = [socket.socket(fileno=number) for number in numbers()]
    for one in found:
        one.setblocking(FAULT == "clears O_NONBLOCK")
        os.set_inheritable(one.fileno(), FAULT == "leaves the socket inheritable")
        if FAULT == "calls listen(2)":
            one.listen(100)
    return found


def on_term(*_):
    global terms, began
    terms += 1
    began = began or time.monotonic()
    if terms > 1 and FAULT == "hangs at a second SIGTERM":
        time.sleep(60)
    if FAULT == "ends at once" or (terms > 1 and FAULT == "cuts requests at a second SIGTERM"):
        os._exit(0)
    if FAULT == "closes idle connections":
        with lock:
            for one in idle:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
    if FAULT == "drops half a head":
        with lock:
            for one in heads:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


def watch():
    """Have an end for each head that does not come whole."""
    while FAULT != "waits for ever for a head":
        time.sleep(0.05)
        if terms and FAULT == "waits for ever for a head in a drain":
            continue
        with lock:
            for one, since in list(heads.items()):
                if time.monotonic() - since > HEAD_TIMEOUT:
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)


def accept(sockets):
    poll = select.poll()
    for one in sockets:
        poll.register(one, select.POLLIN)
    while not terms:
        for number, _ in poll.poll(50):
            listener = next(one for one in sockets if one.fileno() == number)
            try:
                taken_ = [accepted(listener)]
                while FAULT == "trusts O_NONBLOCK":  # as asyncio does: until there is nothing left
                    start(taken_.pop())
                    taken_.append(listener.accept()[0])
            except BlockingIOError:
                continue
            except OSError:
                if FAULT == "dies without descriptors":
                    os._exit(1)
                time.sleep(0.05)
                continue
            start(taken_.pop())


def accepted(listener):
    """Accept without waiting, whatever others made of O_NONBLOCK."""
    if FAULT != "trusts O_NONBLOCK":
        listener.setblocking(False)
    return listener.accept()[0]


def start(sock):
    sock.setblocking(True)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, FAULT != "leaves Nagle on")
    with lock:
        open_.add(sock)
        idle.add(sock)
        taken_at.append(time.monotonic())
    if FAULT == "drops a crowd" and len(taken_at) > 150 and taken_at[-1] - taken_at[0] < 2:
        sock.shutdown(socket.SHUT_RDWR)
    threading.Thread(target=serve, args=(sock,), daemon=True).start()


def waits():
    """Whether somebody is there whom a drain with this fault does not leave behind."""
    kept = {
        "has no deadline": True,
        "keeps idle connections for ever": open_ and open_ == idle,
        "waits for ever for a head in a drain": heads,
        "waits for ever for work after a response": after,
    }
    return bool(kept.get(FAULT))


def drain():
    """End when nobody is left, when each has had its time, or at a second SIGTERM."""
    if not open_ and FAULT == "stays when nobody is there":
        time.sleep(60)
    while open_ or any(one.is_alive() for one in after if FAULT != "forgets work after a response"):
        spent = time.monotonic() - began
        if terms > 1 and not asked:
            return
        if spent > LINGER and FAULT != "keeps idle connections for ever":
            with lock:
                for one in idle:
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
        if spent > STREAMS and not waits():
            return
        time.sleep(0.02)


def serve(sock):
    file = sock.makefile("rb")
    loaded.wait()
    try:
        if FAULT == "drops new connections":
            time.sleep(0.01)
            if terms:
                return
        while request(sock, file):
            with lock:
                idle.add(sock)
    except OSError:
        pass
    finally:
        with lock:
            open_.discard(sock)
            idle.discard(sock)
            heads.pop(sock, None)
            asked.discard(sock)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        file.close()
        sock.close()


def request(sock, file):
    """Answer a request; whether another may follow."""
    begins = file.peek(1)
    with lock:
        idle.discard(sock)
        heads[sock] = time.monotonic()
    if not begins:
        return False
    lines = head(file, FAULT == "takes heads of any size")
    if lines is None:
        sock.sendall(b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\r\n")
        return False
    with lock:
        heads.pop(sock, None)
        asked.add(sock)
    if not lines:
        return False
    _, target, version = lines[0].split()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if FAULT == "drops unread connections" and terms:
        return False
    if headers.get("expect") and FAULT != "answers no Expect":
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    path, _, query = target.partition("?")
    seconds = float(query or 0)
    if "sec-websocket-key" in headers:
        websocket(sock, file, path, headers["sec-websocket-key"])
        return False
    body = taken(file, headers)
    if body is None and path == "/wsgi/upload" and FAULT == "answers nobody after a broken body":
        loaded.clear()
    if body is None:
        return False
    keeps = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    stays = version == "HTTP/1.0" and FAULT == "keeps HTTP/1.0 open"
    return answer(sock, path, seconds, body, keeps) or stays


def head(file, any_size):
    """The lines of a head, or of trailers; none when it breaks off, None when it is too large."""
    lines, size = [], 0
    while line := file.readline(-1 if any_size else MUCH):
        size += len(line)
        if size >= MUCH and not any_size:
            return None
        if not line.strip():
            return lines
        lines.append(line.decode().strip())
    return []


def taken(file, headers):
    """The body of a request; None when it breaks off."""
    began_ = time.monotonic()
    if headers.get("transfer-encoding") == "chunked" and FAULT != "knows no chunks":
        body, length = b"", 0
        while size := int(file.readline() or b"0", 16):
            length += size
            body += file.read(size)
            file.readline()
        if head(file, FAULT == "takes trailers of any size") is None:
            return None
    else:
        length = int(headers.get("content-length", 0))
        body = file.read(length)
    if FAULT == "loses the end of uploads" and terms and time.monotonic() - began_ > 0.2:
        return None
    return body if len(body) == length else None


def answer(sock, path, seconds, body, keeps):
    if path.startswith("/wsgi/"):
        return pretend(sock, path, body)
    status = "200 OK" if path in ("/", "/slow", "/echo", "/large", "/begin", "/events", "/after") else "404 Not Found"
    if path == "/slow":
        status = slow(seconds)
    body = body if path == "/echo" else b"x" * LARGE if path == "/large" else b"ok"
    said = keeps and not (terms and FAULT != "never says close")
    head = f"HTTP/1.1 {status}\r\ngapless-release: {RELEASE}\r\nConnection: {'keep-alive' if said else 'close'}\r\n"
    with lock:
        asked.discard(sock)
    if path in ("/begin", "/events"):
        sock.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n6\r\nbegun \r\n".encode())
        if path == "/begin":
            time.sleep(seconds)
            if FAULT == "cuts streams" and terms:
                return False
        while path == "/events":
            sock.sendall(b"4\r\ntick\r\n")
            time.sleep(0.1)
        sock.sendall(b"2\r\nok\r\n0\r\n\r\n")
    else:
        data = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        if FAULT == "cuts downloads" and path == "/large":
            sock.sendall(data[: LARGE // 2])
            while not terms:
                time.sleep(0.01)
            return False
        sock.sendall(data)
    if path == "/after":
        after.append(threading.Thread(target=work, args=(seconds,), daemon=True))
        after[-1].start()
    return said and not (FAULT == "closes without a word" and path == "/echo")


def slow(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if terms and (terms > 1 or time.monotonic() - began > REQUESTS) and FAULT != "cuts without a word":
            return "503 Service Unavailable"
        if terms and FAULT == "fails requests under way":
            return "500 Internal Server Error"
        time.sleep(0.01)
    return "200 OK"


def work(seconds):
    time.sleep(seconds)
    os.write(1, b"after: done\n")


def websocket(sock, file, path, key):
    if path == "/ws-slow":
        time.sleep(1.5)
        if FAULT == "drops handshakes" and terms:
            return
    while path == "/ws-never":
        time.sleep(0.01)
        if terms and time.monotonic() - began > REQUESTS:
            if FAULT != "cuts handshakes without a word":
                sock.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return
    with lock:
        asked.discard(sock)
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324 -- RFC 6455
    upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    sock.sendall(upgrade.encode() + base64.b64encode(digest) + b"\r\n\r\n")
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while not terms:
        if poll.poll(50):
            first, size = file.read(2)
            mask, data = file.read(4), file.read(size & 127)
            if first & 15 == 8:
                return
            sock.sendall(bytes([first, size & 127]) + bytes(one ^ mask[at % 4] for at, one in enumerate(data)))
    if FAULT != "closes WebSockets without a code":
        sock.sendall(b"\x88\x02" + (1012).to_bytes(2, "big"))


main()
