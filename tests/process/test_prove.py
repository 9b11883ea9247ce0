"""`deploy --prove`: the probe goes along with the switchover, turns back a release that loses, and leaves a page."""

from __future__ import annotations

import contextlib
import html
import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gapless.prove.kinds import Kind
from gapless.prove.live import LiveProbe
from gapless.prove.workload import Workload
from tests.process.conftest import Project
from tests.support import wait_until

# Passes its own check, and answers 500 to everybody else: only a client from outside sees it.
TWO_FACED = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    status = 200 if (b"user-agent", b"gapless-check") in scope["headers"] else 500
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"bad"})
"""
SLOW = """
import asyncio

async def app(scope, receive, send):
    assert scope["type"] == "http"
    if (b"user-agent", b"gapless-check") not in scope["headers"]:
        await asyncio.sleep(2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"slow"})
"""


def pid(project: Project) -> int:
    """The process that serves."""
    (one,) = [one["pid"] for one in project.json("status")["instances"] if one["role"] == "live"]
    return int(one)


def last(project: Project) -> dict[str, Any]:
    """The ledger's last entry."""
    entry: dict[str, Any] = project.json("audit")["deploys"][-1]
    return entry


def test_a_deploy_without_a_loss_leaves_its_proof(project: Project) -> None:
    """The page says that nothing was lost, has the phases, is named in the ledger, and goes with its release."""
    project.supervise()
    project.app("two")
    plan = project("deploy", "-n", "--prove", "--max-latency", "5s")
    assert f"a request to http://127.0.0.1:{project.port}/ is lost or takes longer than 5.0 s" in plan
    deployed = project.json("deploy", "--prove")
    assert [one["name"] for one in deployed["phases"]] == [
        "install",
        "seal",
        "baseline",
        "switch over",
        "watch",
        "prune",
    ]
    report = Path(deployed["report"])
    assert report == project.home / "reports" / f"{deployed['release']}.html"
    page = report.read_text()
    assert "No request lost" in page
    assert f"{deployed['release']} took over from {deployed['previous']}." in page
    assert re.search(r"In the switchover \([^)]+ requests\) the slowest answer took .* in the baseline before", page)
    assert f"http://127.0.0.1:{project.port}/" in page
    assert "<b>shop</b>" in page
    assert all(phase in page for phase in ("baseline", "starting", "proven", "committed", "watching"))
    assert last(project)["report"] == str(report)
    assert f"report: {report}" in project("audit", "-v")
    for body in ("three", "four", "five"):
        project.app(body)
        project("deploy", "-q")
    wait_until(lambda: len(project.json("status")["instances"]) == 1, 30, "the end of the drains")
    assert deployed["release"] in project.json("prune", "--keep", "2")["removed"]
    assert not report.exists()


def test_a_lost_request_turns_the_deploy_back(project: Project) -> None:
    """The loss is reported with its time and phase; the process from before serves again, and loses nothing."""
    project.supervise()
    before = pid(project)
    load = project.start("probe", f"http://127.0.0.1:{project.port}", "--json", "--rate", "30")
    (project.folder / "app.py").write_text(TWO_FACED)
    said = project("deploy", "--prove", "--watch", "60s", status=1)
    assert "a request (" in said
    assert f"GET http://127.0.0.1:{project.port}/) was lost: status 500" in said
    assert "UTC in the phase `" in said
    entry = last(project)
    assert entry["outcome"] == "failed"
    assert "a request (" in entry["error"]
    page = Path(entry["report"]).read_text()
    assert "requests lost" in page
    assert entry["error"].removeprefix("c") in html.unescape(page)
    # The load that went on by itself lost nothing more once the release was turned back.
    back = next(one for one in entry["phases"] if one["name"] == "turn back")
    over = back["started"] + back["seconds"] + 1  # what the bad one had accepted gets its 500 before that
    wait_until(lambda: time.time() > over + 1, what="a second of load after it")
    load.kill(signal.SIGINT)
    status = load.status()
    seen = json.loads(load.output)
    # None at all where the proof turned the release back before this load asked it anything.
    assert status == (1 if seen["lost"] else 0)
    assert seen["lost"] < 100, "the page lists all losses only up to here"
    assert all(one["at"] <= over for one in seen["losses"])
    assert seen["releases"][-1]["last_seen"] > over
    assert pid(project) == before
    assert project.answers() == "one"
    assert project.json("releases")["releases"][0]["state"] == "bad"


def test_a_bound_that_is_passed_turns_the_deploy_back(project: Project) -> None:
    """An answer slower than --max-latency counts like a loss."""
    project.supervise()
    (project.folder / "app.py").write_text(SLOW)
    said = project("deploy", "--prove", "--watch", "60s", "--max-latency", "1500ms", status=1)
    assert ") took " in said
    assert project.answers() == "one"


# Nobody may see / without a login, and there is nothing else but /open?to=all; it insists on https.
PRIVATE = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        asked = scope["raw_path"] + b"?" + scope["query_string"]
        status = {b"/?": 302, b"/open?to=all": 200}.get(asked, 404)
        status = status if scope["scheme"] == "https" else 301
        headers = [(b"location", b"/login" if status == 302 else b"https://localhost/")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})
"""


def test_a_page_that_no_visitor_gets_is_not_blamed_on_the_release(project: Project) -> None:
    """What the proof asks for is said, with the setting that names another page; a URL with a page is asked exactly."""
    toml = project.folder / "gapless.toml"
    (project.folder / "app.py").write_text(PRIVATE)
    toml.write_text(toml.read_text().replace('check = { path = "/",', "check = {"))
    project.supervise()
    url = f"http://127.0.0.1:{project.port}"
    said = project("deploy", "--prove", status=1)
    assert f"GET {url}/) was lost: status 301 to https://localhost/" in said
    assert 'the app insists on https: set `[check] scheme = "https"`' in said
    for path, answered, advised in (
        ("/", "status 302 to /login", "the page needs a login: set `[check] path`"),
        ("/nothere", "status 404", "there is no such page: set `[check] path`"),
    ):
        check = f'check = {{ scheme = "https", timeout = "4s", path = "{path}" }}'
        toml.write_text("\n".join(check if "check = {" in line else line for line in toml.read_text().splitlines()))
        said = project("deploy", "--prove", status=1)
        assert f"GET {url}{path}) was lost: {answered}" in said
        assert advised in said
        assert "nothing was touched" in said
    toml.write_text(toml.read_text().replace("/nothere", "/open?to=all"))
    assert project.json("deploy", "--prove", "--watch", "100ms")["outcome"] == "switched"
    (project.folder / "new").touch()
    toml.write_text(toml.read_text().replace("check = {", 'check = { headers = { x-forwarded-proto = "https" },'))
    exactly = ("--prove-url", f"{url}/open?to=all", "--watch", "100ms")
    assert project.json("deploy", *exactly)["outcome"] == "switched"
    (project.folder / "newer").touch()
    said = project("deploy", "--prove-url", f"{url}/open/", status=1)
    assert f"GET {url}/open/) was lost: status 404" in said
    assert "let --prove-url name a page that answers 2xx itself" in said


class Pages(BaseHTTPRequestHandler):
    """/ is there, /slow takes a second, /moved leads to /, and others are not there."""

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(1)
        self.send_response({"/": 200, "/slow": 200, "/moved": 302}.get(self.path, 404))
        if self.path == "/moved":
            self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_about: object) -> None:
        """Nothing is to be said of a request."""


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The URL of a server of those pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_what_a_proof_is_advised_to_ask_is_answered() -> None:
    """Invariant 8: a page that answers, at an address that does, and a bound that it keeps, are advised and prove."""

    def advice(url: str, bound: float | None = None, timeout: float = 10.0) -> str:
        workload = Workload(url=url, duration_seconds=None, kinds={Kind.GET: 1}, rate=20, timeout_seconds=timeout)
        live = LiveProbe("shop", workload, bound)
        live.begin()
        assert (live.stop() == "") is (live.advice() == "")
        return live.advice()

    with served() as url:
        long = "the app as it is takes that long: try "
        assert advice(f"{url}/nothere") == "let --prove-url name a page that answers 2xx itself"
        assert advice(f"{url}/moved") == "let --prove-url name a page that answers 2xx itself, / perhaps"
        assert advice(f"{url}/slow", timeout=0.3) == f"{long}another page, by `[check] path`"
        assert advice(f"{url}/") == ""
        assert advice(f"{url}/slow", bound=0.3) == f"{long}a longer --max-latency"
        assert advice(f"{url}/slow", bound=8.0) == ""
    assert advice(f"{url}/").startswith("if the app does not answer at that address, name the one where it does")


def test_an_app_that_is_broken_already_is_not_switched(project: Project) -> None:
    """Invariant 3: what the baseline loses is not blamed on the release, and nothing is touched."""
    project.supervise()
    before = pid(project)
    project.app("two")
    said = project("deploy", "--prove-url", "http://127.0.0.1:1", status=1)
    assert "refused" in said
    assert "in the phase `baseline`; nothing was touched" in said
    assert "if the app does not answer at that address, name the one where it does: --prove-url" in said
    said = project("deploy", "--prove-url", "http://shop.invalid/", status=1)
    assert "cannot look up shop.invalid" in said
    assert "Traceback" not in said
    assert project.answers() == "one"
    assert pid(project) == before
    assert "needs --prove" in project("deploy", "--max-latency", "1s", status=2)
