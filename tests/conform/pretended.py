"""What a server gives of the WSGI app under test, without one: by FAULT, not what PEP 3333 says."""

import itertools
import os
import time

FAULT = os.environ.get("FAULT", "")
WHOLE = {"/wsgi/lazy": b"lazy", "/wsgi/pieces": b"one two", "/wsgi/written": b"first second third"}
BROKEN = ("/wsgi/raises", "/wsgi/twice", "/wsgi/bad-header")


def pretend(sock, path, body):
    """Answer as a server does that runs the app; whether another request may follow."""
    if path in WHOLE:
        give(sock, "200 OK", WHOLE[path])
        if FAULT != "closes no iterable":
            say(f"closed {path}")
    elif path == "/wsgi/replaced":
        give(sock, "200 OK" if FAULT == "keeps the first status" else "503 Service Unavailable", b"sorry")
    elif path in ("/wsgi/replaced-early", "/wsgi/raises-early", "/wsgi/text"):
        status = "503 Service Unavailable" if path == "/wsgi/replaced-early" else "500 Internal Server Error"
        give(sock, "200 OK" if FAULT == "sends the head with an empty piece" else status, b"sorry")
    elif path in BROKEN:
        give(sock, "200 OK" if FAULT == "answers well for an app that raises" else "500 Internal Server Error", b"sorry")
    elif path in ("/wsgi/too-late", "/wsgi/raises-late"):
        begin(sock)
        say(f"raised again\nclosed {path}")
        if FAULT == "ends well what broke off":
            sock.sendall(b"0\r\n\r\n")
    elif path in ("/wsgi/endless", "/wsgi/flood"):
        endless(sock, path)
    elif path in ("/wsgi/upload", "/wsgi/lines"):
        told = str(len(body)) if path == "/wsgi/upload" else "4 2"
        give(sock, "200 OK", b"1000" if FAULT == "ends bodies early" else told.encode())
    elif path.startswith("/wsgi/validated/"):
        if FAULT == "breaks the letter":
            say("AssertionError: environ is no dict")
        give(sock, "200 OK", b"plain")
    return False


def endless(sock, path):
    begin(sock)
    try:
        for _ in itertools.count():
            sock.sendall(b"4\r\ntick\r\n")
            time.sleep(0.01)
    except OSError:
        if FAULT != "forgets who is gone":
            say(f"closed {path}")


def begin(sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n")


def give(sock, status, body):
    sock.sendall(f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def say(text):
    os.write(1, f"{text}\n".encode())
