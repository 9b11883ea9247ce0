"""Files of pages over deploys: `gapless serve` has those that the app does not know, and the probe asks for them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.prove.kinds import Failure, Kind
from tests.process.conftest import Project
from tests.process.probed import Peer, run
from tests.support import GAPLESS, listening, start, wait_until

APP = """
import os, pathlib
SEEN = pathlib.Path(os.environ["GAPLESS_SHARED"])
NAMES = sorted(one.name for one in pathlib.Path("static").iterdir())
PAGE = "".join(f'<link rel="stylesheet" href="/static/{name}">' for name in NAMES).encode()

async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = PAGE if scope["path"] == "/" else None
    if scope["path"].removeprefix("/static/") in NAMES:
        body = pathlib.Path(scope["path"][1:]).read_bytes()
    if scope["path"].startswith("/static/"):
        (SEEN / ("unknown" if body is None else "known")).touch()
    headers = [(b"cache-control", b"immutable"), (b"x-from", b"app")]
    await send({"type": "http.response.start", "status": 404 if body is None else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"none " * 10, "more_body": True} if body is None else
               {"type": "http.response.body", "body": body})
    if body is None:
        await send({"type": "http.response.body", "body": b"at all"})
"""
ASSETS = '[assets]\n"/static" = "static"\n'


def write(project: Project, **files: str) -> None:
    """The next release: its app, and its public files."""
    (project.folder / "app.py").write_text(APP)
    static = project.folder / "static"
    static.mkdir(exist_ok=True)
    for old in static.iterdir():
        old.unlink()
    for name, text in files.items():
        (static / f"{name}.css").write_text(text)


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, str]:
    """One request, whose path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()


def test_every_page_finds_its_files(project: Project) -> None:
    """Those of the release before come from the tree, the app's own answers stay its own; a rollback turns it round."""
    project.configure(ASSETS)
    write(project, a="1", same="1")
    project.supervise()
    write(project, b="2", same="2")
    project("deploy", "-q")
    wait_until(lambda: len(project.json("status")["instances"]) == 1)
    status, headers, body = ask(project.port, "/static/a.css")
    assert (status, body, headers["X-From"], headers["Content-Type"]) == (200, "1", None, "text/css; charset=utf-8")
    status, headers, body = ask(project.port, "/static/same.css")
    assert (status, body, headers["X-From"], headers["Cache-Control"]) == (200, "2", "app", "immutable")
    status, headers, body = ask(project.port, "/static/nowhere.css")
    assert (status, headers["X-From"], body.endswith("at all")) == (404, "app", True)
    project("rollback", "-q")
    wait_until(lambda: len(project.json("status")["instances"]) == 1)
    assert [ask(project.port, f"/static/{name}.css")[2] for name in ("a", "b", "same")] == ["1", "2", "1"]


def test_the_live_release_has_the_candidates_files(project: Project) -> None:
    """In the overlap either may be asked: a candidate that is never proven leaves its files with who serves."""
    project.configure(ASSETS)
    write(project, a="1")
    project.supervise()
    write(project, b="2")
    (project.folder / "app.py").write_text("import time; time.sleep(60)")
    deploying = project.start("deploy")
    wait_until(lambda: ask(project.port, "/static/b.css")[0] == 200)
    assert deploying.process.poll() is None
    assert project.answers() == '<link rel="stylesheet" href="/static/a.css">'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory of public files, with a way out of it."""
    public = tmp_path / "public"
    (public / "static").mkdir(parents=True)
    (public / "static" / "a b.js").write_text("0123456789")
    (public / "known.js").write_text("the file")
    (tmp_path / "secret").write_text("secret")
    (public / "static" / "out").symlink_to(tmp_path)
    (public / "static" / "secret").symlink_to(tmp_path / "secret")
    os.utime(public / "static" / "a b.js", (1_500_000_000, 1_500_000_000))
    return public


@pytest.fixture
def port(tree: Path, run: start) -> Iterator[int]:
    """An app that answers 404 to /404 and to what begins with /static, and 200 to the rest."""
    with listening() as sock:
        app = Path(tree).parent / "answers.py"
        app.write_text(
            "async def app(scope, receive, send):\n"
            '    missing = scope["path"].startswith(("/static", "/404", "/."))\n'
            '    await send({"type": "http.response.start", "status": 404 if missing else 200, "headers": []})\n'
            '    await send({"type": "http.response.body", "body": b"app"})\n'
        )
        argv = ("serve", "answers:app", "--app-dir", str(app.parent), "--assets", str(tree))
        server = run(*GAPLESS, *argv, sockets=[sock])
        server.says("serving")
        yield int(sock.getsockname()[1])
    assert "ERROR" not in server.output


def test_how_a_file_is_served(port: int) -> None:
    """With its type and validators, which are kept; a range, a HEAD; and a POST is the app's."""
    status, headers, body = ask(port, "/static/a%20b.js")
    assert (status, body, headers["Last-Modified"]) == (200, "0123456789", "Fri, 14 Jul 2017 02:40:00 GMT")
    assert headers["Content-Type"].startswith("text/javascript")
    assert headers["Cache-Control"] is None
    for validators in ({"If_None_Match": headers["ETag"]}, {"If_Modified_Since": headers["Last-Modified"]}):
        assert ask(port, "/static/a%20b.js", **validators)[::2] == (304, "")
    assert ask(port, "/static/a%20b.js", If_None_Match='"other"')[0] == 200
    status, headers, body = ask(port, "/static/a%20b.js?v=1", Range="bytes=2-4")
    assert (status, body, headers["Content-Range"]) == (206, "234", "bytes 2-4/10")
    # To add up many of them takes some servers seconds, in which nobody else is answered.
    many = "bytes=" + ",".join(f"{one}-{one}" for one in range(9))
    assert ask(port, "/static/a%20b.js", Range=many)[::2] == (200, "0123456789")
    status, headers, body = ask(port, "/static/a%20b.js", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, "", "10")
    assert ask(port, "/static/a%20b.js", "POST")[::2] == (404, "app")
    assert ask(port, "/known.js")[::2] == (200, "app")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../secret",
        "/static/%2e%2e/%2e%2e/secret",
        "/static/..%2f..%2fsecret",
        "/.%2e/secret",
        "/static/secret",
        "/static/out/secret",
        "/static//../../secret",
        "/static",
        "/static/",
        "/static/a%20b.js/",
        "/static/a%20b.js%00",
        "/404" + "x" * 5000,
        "//etc/passwd",
        "/404/%ff%fe",
    ],
)
def test_what_is_not_served(port: int, path: str) -> None:
    """Nothing outside, over a link or not, no directory, and what no file is called: the app's own answer comes."""
    assert ask(port, path)[2] == "app"


@pytest.mark.parametrize(("more", "missing"), [(ASSETS, False), ("", True)])
def test_the_probe_asks_for_the_files_of_pages(project: Project, more: str, missing: bool) -> None:
    """`--assets`: nothing is missing with [assets]; without, a file that the next release has not is a lost request."""
    project.configure(more)
    write(project, one="1")
    project.supervise()
    url = f"http://127.0.0.1:{project.port}"
    probing = project.start("probe", url, "--assets", "--assets-within", "3s", "--rate", "40", "--json")
    wait_until((project.home / "shared" / "known").exists)
    write(project, two="2")
    project("deploy", "-q")
    wait_until((project.home / "shared" / "unknown").exists)  # the new release was asked for a file of the old one
    probing.kill(signal.SIGINT)
    assert probing.status() == missing, probing.output
    seen = json.loads(probing.output)
    assert seen["assets"]["fetched"] > 0
    assert (seen["assets"]["missing"] > 0) is missing
    assert seen["lost"] == seen["assets"]["missing"]
    assert {one["detail"].partition(",")[0] for one in seen["losses"]} <= {"status 404: /static/one.css"}


PAGE = b"""<!doctype html><link rel="stylesheet" href="a.css"><script src=/b.js?v=1#x></script><a href="/page">x</a>
<img src="https://elsewhere.example/c.png"><img src="data:image/png;base64,AA=="><link rel=canonical href="/d">
<link rel="icon preload" href="a.css"><img src="//[bad">"""


def test_what_a_page_refers_to() -> None:
    """Style, scripts and pictures of the page's own site, each once; what it links to are other pages."""
    asked: list[bytes] = []

    async def site(peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[1])
        body, status = (PAGE, b"200 OK") if asked[-1] == b"/shop/" else (b"", b"404 Not Found")
        peer.send(b"HTTP/1.1 %b\r\ncontent-length: %d\r\ngapless-release: r1\r\n\r\n%b" % (status, len(body), body))

    result, _ = run(site, Kind.PAGE, rate=10.0, path="/shop/", assets_seconds=0.2)
    assert {*asked} == {b"/shop/", b"/shop/a.css", b"/b.js?v=1"}
    lost = [sample for sample in result.samples if sample.kind is Kind.ASSET]
    assert len(lost) == 2 * asked.count(b"/shop/")
    assert {(one.failure, one.status) for one in lost} == {(Failure.STATUS, 404)}
    assert "status 404: /b.js?v=1, 0." in " ".join(one.detail for one in lost)
    assert all("after its page of r1" in one.detail and one.waited_seconds <= 0.2 for one in lost)


def test_a_page_without_files_proves_nothing(project: Project) -> None:
    """Nor can the files be asked for by themselves."""
    project.supervise()
    url = f"http://127.0.0.1:{project.port}"
    said = project("probe", url, "--assets", "--duration", "500ms", status=1)
    assert "files of pages: 0 fetched" in said
    assert "NOT OK" in said
    assert "name `page`" in project("probe", url, "--kinds", "asset", status=2)
