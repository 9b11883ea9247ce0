"""The app of the battery, in WSGI. What it does is said on standard output, a line each.

Any answer to GET / will do. Each iterable says "closed PATH" when it is closed.
    /lazy             calls start_response when its iterable is asked for the first piece
    /in-pieces        three pieces, one of them empty
    /written          by the callable that start_response returned
    /slow?N           answers after N seconds
    /replaced         begins with 200, and replaces that by 503 with exc_info
    /replaced-early   does so after an empty piece
    /too-late         does so after some bytes: exc_info is raised again; says "raised again"
    /raises-at-once   after start_response
    /raises-early     after start_response and an empty piece
    /raises-late      after some bytes
    /twice            calls start_response a second time, without exc_info
    /bad-header       a header with a line feed
    /text             a piece that is no bytes
    /endless          sends a little again and again
    /flood            sends much, for ever
    /upload           answers how many bytes the body was; says "gone" when reading fails
    /lines            answers the number of lines of the body
    /environ          answers its environ's strings, as JSON
"""

import json
import os
import sys
import time
from wsgiref.validate import validator

OK = ("200 OK", [("Content-Type", "text/plain")])


def say(text):
    print(text, flush=True)


class Pieces:
    """An iterable that says when it is closed."""

    def __init__(self, path, pieces):
        self.path = path
        self.pieces = iter(pieces)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.pieces)

    def close(self):
        getattr(self.pieces, "close", lambda: None)()
        say(f"closed {self.path}")


def app(environ, start_response):
    path = environ["PATH_INFO"]
    say(f"asked {path}")
    handler = HANDLERS.get(path)
    if handler is None:
        start_response(*OK)
        return [b"ok"]
    return Pieces(path, handler(environ, start_response))


def lazy(environ, start_response):
    start_response(*OK)
    yield b"lazy"


def in_pieces(environ, start_response):
    start_response(*OK)
    return [b"one ", b"", b"two"]


def written(environ, start_response):
    write = start_response(*OK)
    write(b"first ")
    write(b"")
    write(b"second ")
    return [b"third"]


def slow(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"]))
    start_response(*OK)
    return [b"ok"]


def failure():
    try:
        raise LookupError("no such row")
    except LookupError:
        return sys.exc_info()


def replaced(environ, start_response):
    start_response(*OK)
    start_response("503 Service Unavailable", [("Content-Type", "text/plain")], failure())
    return [b"sorry"]


def replaced_early(environ, start_response):
    start_response(*OK)
    yield b""
    start_response("503 Service Unavailable", [("Content-Type", "text/plain")], failure())
    yield b"sorry"


def too_late(environ, start_response):
    start_response(*OK)
    yield b"some"
    try:
        start_response("500 Internal Server Error", [], failure())
    except LookupError:
        say("raised again")
        raise


def raises_at_once(environ, start_response):
    start_response(*OK)
    raise LookupError("at once")


def raises_early(environ, start_response):
    start_response(*OK)
    yield b""
    raise LookupError("early")


def raises_late(environ, start_response):
    start_response(*OK)
    yield b"some"
    raise LookupError("late")


def twice(environ, start_response):
    start_response(*OK)
    start_response("404 Not Found", [])
    return [b"twice"]


def bad_header(environ, start_response):
    start_response("200 OK", [("X-Bad", "a\r\nX-Smuggled: b")])
    return [b"bad"]


def text(environ, start_response):
    start_response(*OK)
    return ["text"]


def endless(environ, start_response):
    start_response(*OK)
    while True:
        yield b"tick\n"
        time.sleep(0.05)


def flood(environ, start_response):
    start_response(*OK)
    while True:
        yield b"x" * 2**16


def upload(environ, start_response):
    try:
        length = sum(len(part) for part in iter(lambda: environ["wsgi.input"].read(1000), b""))
    except OSError:
        say("gone")
        raise
    start_response(*OK)
    return [str(length).encode()]


def lines(environ, start_response):
    body = environ["wsgi.input"]
    first = body.readline()
    start_response(*OK)
    return [f"{len(first)} {len(list(body))}".encode()]


def environment(environ, start_response):
    start_response(*OK)
    return [json.dumps({key: value for key, value in environ.items() if isinstance(value, str)}).encode()]


HANDLERS = {
    "/lazy": lazy,
    "/in-pieces": in_pieces,
    "/written": written,
    "/slow": slow,
    "/replaced": replaced,
    "/replaced-early": replaced_early,
    "/too-late": too_late,
    "/raises-at-once": raises_at_once,
    "/raises-early": raises_early,
    "/raises-late": raises_late,
    "/twice": twice,
    "/bad-header": bad_header,
    "/text": text,
    "/endless": endless,
    "/flood": flood,
    "/upload": upload,
    "/lines": lines,
    "/environ": environment,
}


def plain(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"plain"]


validated = validator(plain)  # complains of what breaks PEP 3333 on either side
