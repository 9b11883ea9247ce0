"""What a WSGI app may do by the letter of PEP 3333; each iterable says "closed PATH" when it is closed.

/wsgi/lazy             calls start_response when it is asked for its first piece
/wsgi/pieces           three pieces, one of them empty
/wsgi/written          by the callable that start_response returned
/wsgi/replaced         begins with 200, and replaces that by 503 with exc_info
/wsgi/replaced-early   does so after an empty piece
/wsgi/too-late         does so after some bytes: exc_info is raised again; says "raised again"
/wsgi/raises           after start_response
/wsgi/raises-early     after an empty piece
/wsgi/raises-late      after some bytes
/wsgi/twice            calls start_response a second time, without exc_info
/wsgi/bad-header       a header with a line feed
/wsgi/endless          sends a little again and again
/wsgi/flood            sends much, for ever
/wsgi/upload           answers how many bytes the body was
/wsgi/lines            answers how long the first line of the body was, and how many followed
/wsgi/text             a piece that is no bytes
/wsgi/validated/…      answers "plain", with wsgiref.validate between it and the server
"""

import os
import sys
import time
from wsgiref.validate import validator

OK = ("200 OK", [("Content-Type", "text/plain")])


def say(text):
    os.write(1, f"{text}\n".encode())


class Closes:
    """An iterable that says when it is closed."""

    def __init__(self, path, pieces):
        self._path = path
        self._pieces = iter(pieces)

    def __iter__(self):
        return self._pieces

    def close(self):
        getattr(self._pieces, "close", lambda: None)()
        say(f"closed {self._path}")


def app(environ, start_response):
    """Answer a request for one of these paths; None for another."""
    path = environ["PATH_INFO"]
    if path.startswith("/wsgi/validated/"):
        return validator(plain)(environ, start_response)
    if path not in HANDLERS:
        return None
    return Closes(path, HANDLERS[path](environ, start_response))


def plain(_environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"plain"]


def lazy(_environ, start_response):
    start_response(*OK)
    yield b"lazy"


def pieces(_environ, start_response):
    start_response(*OK)
    return [b"one ", b"", b"two"]


def written(_environ, start_response):
    write = start_response(*OK)
    write(b"first ")
    write(b"")
    write(b"second ")
    return [b"third"]


def failure():
    try:
        return {}["no such row"]
    except LookupError:
        return sys.exc_info()


def replaced(_environ, start_response):
    start_response(*OK)
    start_response("503 Service Unavailable", [("Content-Type", "text/plain")], failure())
    return [b"sorry"]


def replaced_early(_environ, start_response):
    start_response(*OK)
    yield b""
    start_response("503 Service Unavailable", [("Content-Type", "text/plain")], failure())
    yield b"sorry"


def too_late(_environ, start_response):
    start_response(*OK)
    yield b"some"
    try:
        start_response("500 Internal Server Error", [], failure())
    except LookupError:
        say("raised again")
        raise


def raises(_environ, start_response):
    start_response(*OK)
    raise LookupError("at once")


def raises_early(_environ, start_response):
    start_response(*OK)
    yield b""
    raise LookupError("early")


def raises_late(_environ, start_response):
    start_response(*OK)
    yield b"some"
    raise LookupError("late")


def twice(_environ, start_response):
    start_response(*OK)
    start_response("404 Not Found", [])
    return [b"twice"]


def bad_header(_environ, start_response):
    start_response("200 OK", [("X-Bad", "a\r\nX-Smuggled: b")])
    return [b"bad"]


def endless(_environ, start_response):
    start_response(*OK)
    while True:
        yield b"tick\n"
        time.sleep(0.05)


def flood(_environ, start_response):
    start_response(*OK)
    while True:
        yield b"x" * 2**16


def upload(environ, start_response):
    length = sum(len(part) for part in iter(lambda: environ["wsgi.input"].read(1000), b""))
    start_response(*OK)
    return [str(length).encode()]


def lines(environ, start_response):
    body = environ["wsgi.input"]
    first = body.readline()
    start_response(*OK)
    return [f"{len(first)} {len(list(body))}".encode()]


def text(_environ, start_response):
    start_response(*OK)
    return ["text"]


HANDLERS = {
    "/wsgi/lazy": lazy,
    "/wsgi/pieces": pieces,
    "/wsgi/written": written,
    "/wsgi/replaced": replaced,
    "/wsgi/replaced-early": replaced_early,
    "/wsgi/too-late": too_late,
    "/wsgi/raises": raises,
    "/wsgi/raises-early": raises_early,
    "/wsgi/raises-late": raises_late,
    "/wsgi/twice": twice,
    "/wsgi/bad-header": bad_header,
    "/wsgi/endless": endless,
    "/wsgi/flood": flood,
    "/wsgi/upload": upload,
    "/wsgi/lines": lines,
    "/wsgi/text": text,
}
