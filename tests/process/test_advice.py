"""What is printed after `Try:` where no host is needed, done in the state that prints it: then it works."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.switch.embedded import control
from gapless.switch.embedded.home import EmbeddedHome
from tests.contract.worlds import Embedded, ask, refused_elsewhere
from tests.host.advice import hint
from tests.process.conftest import Project, a_project
from tests.support import APPS, GAPLESS, Started, get, listening, start, wait_until

DEEP = "/".join(["a" * 50] * 3)
SLOW_START = """
import asyncio
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await asyncio.sleep(1)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a supervisor and its first release, that each test leaves whole."""
    with a_project(tmp_path_factory.mktemp("running")) as one:
        one.supervise()
        yield one


# What `gapless serve` says, what it advises, and the arguments that follow from that.
SERVE = [
    ("app", 'for example: gapless serve "shop.web:app"', "app:app"),
    ("app:nothing", "defined there: app, wsgi", "app:app"),
    ("--app-dir . app:app", "looked in", "app:app"),
    ("app:takes_anything", "say it: --interface asgi", "app:takes_anything --interface asgi"),
    ("app:app --interface wsgi", "use --interface asgi", "app:app --interface asgi"),
    (f"app:app --private {DEEP}", "use a shorter --private path", "app:app --private p"),
    ("slow:app --app-dir . --check-timeout 300ms", "raise [check] timeout", "slow:app --app-dir . --check-timeout 9s"),
    (
        "app:app --release R --check /status/500",
        "its log says more; it may write to $GAPLESS",
        "app:app --check /health",
    ),
    (
        "app:healthy_third_time --check /b --check-timeout 80ms",
        "is how long to wait",
        "app:healthy_third_time --check /",
    ),
    (
        "app:other_release --release R1 --check /",
        "does the app set gapless-release itself?",
        "app:app --release R1 --check /",
    ),
    ("app:app --check /slow", "is something in the app blocking its loop?", "app:app --check /health"),
    ("app:exits --workers 2", "what it wrote before says why", "app:app --workers 2"),
]


@pytest.mark.parametrize(("wrong", "advised", "right"), SERVE, ids=[one[0][:30] for one in SERVE])
def test_serve_as_it_is_advised(run: start, tmp_path: Path, wrong: str, advised: str, right: str) -> None:
    """What the advice names, an option, a path or a list to choose from, is what serves."""
    (tmp_path / "slow.py").write_text(SLOW_START)

    def serve(words: str) -> Started:
        argv = shlex.split(words)
        where = [] if "--app-dir" in argv else ["--app-dir", APPS]
        quick = [] if "--check-timeout" in argv or "third" in words else ["--check-timeout", "700ms"]
        return run(*GAPLESS, "serve", *argv, *where, *quick, "--linger", "1", sockets=[sock], cwd=tmp_path)

    with listening() as sock:
        refused = serve(wrong)
        assert refused.status() != 0
        assert advised in hint(refused.output), refused.output
        serve(right)
        assert get(sock.getsockname(), "/health")[0] == 200


LISTEN = """
import gapless
from gapless.errors import GaplessError
try:
    print(gapless.listen({}))
except GaplessError as error:
    print("Try:", error.hint)
    raise SystemExit(1)
"""


@pytest.mark.parametrize(
    ("wrong", "advised", "right"),
    [
        (LISTEN.format("name='api'"), "ask for one of the names that are there", LISTEN.format("name='web'")),
        (LISTEN.format("'8000'"), "write it like", LISTEN.format("'127.0.0.1:0'")),
    ],
    ids=["a name", "an address"],
)
def test_listen_as_it_is_advised(run: start, wrong: str, advised: str, right: str) -> None:
    """The name or the address that the advice shows is taken."""
    with listening() as sock:
        given = [sock] if "name" in wrong else []
        for code, works in ((wrong, False), (right, True)):
            one = run(sys.executable, "-c", code, sockets=given, env={"LISTEN_FDNAMES": "web"})
            assert (one.status() == 0) is works, one.output
            assert works or advised in one.output


def test_a_descriptor_of_another_kind(run: start) -> None:
    """What ListenStream= and Accept=no hand in, a listening socket, is served; a connection is not, nor is nothing."""
    with socket.socket() as fresh, listening() as sock:
        for given, argv, advised in (
            ([fresh], [], "use ListenStream= and Accept=no"),
            ([], ["--bind", "fd:9"], "was it handed in by whoever started this program?"),
        ):
            refused = run(*GAPLESS, "serve", "app:app", "--app-dir", APPS, *argv, sockets=given)
            assert refused.status() == 1
            assert hint(refused.output) == advised
        run(*GAPLESS, "serve", "app:app", "--app-dir", APPS, sockets=[sock])
        assert get(sock.getsockname(), "/health")[0] == 200


def test_a_program_that_forks_before_the_server(run: start) -> None:
    """With `exec` in the shell's command the sockets arrive."""
    serve = shlex.join([*GAPLESS, "serve", "app:app", "--app-dir", APPS])
    with listening() as sock:
        refused = run("sh", "-c", f"{serve}; exit $?", sockets=[sock])
        assert refused.status() == 1
        assert "start it with `exec`" in hint(refused.output)
        run("sh", "-c", f"exec {serve}", sockets=[sock])
        assert get(sock.getsockname(), "/health")[0] == 200


def test_an_address_that_is_taken(run: start) -> None:
    """Once nobody else listens there it serves."""
    serve = [*GAPLESS, "serve", "app:app", "--app-dir", APPS, "--bind"]
    with listening() as taken:
        host, port = taken.getsockname()
        refused = run(*serve, f"{host}:{port}")
        assert refused.status() == 1
        assert hint(refused.output) == "stop what listens there, or choose another address"
    run(*serve, f"{host}:{port}").says("serving")
    assert get((host, port), "/health")[0] == 200


# The embedded manager.


def test_before_the_first_release(project: Project) -> None:
    """The advice makes the first release, and then there is something to show."""
    for verb in (["logs"], ["exec", "true"]):
        assert hint(project(*verb, status=1)) == "`gapless run`"
    project.supervise()
    project("logs")
    project("exec", "true")


def test_a_log_that_is_not_there(running: Project) -> None:
    """The releases that the advice names have one."""
    said = hint(running("logs", "20200101T000000Z-0000000", status=1))
    for release in re.findall(r"\d{8}T\S+", said):
        running("logs", release)
    assert running.json("status")["current"] in said


def test_a_supervisor_that_is_stopped(running: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGSTOP is what it says; SIGCONT, and it answers."""
    monkeypatch.setattr(control, "PATIENCE", 0.3)
    pid = running.json("status")["supervisor"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(GaplessError) as refused:
        control.ask(EmbeddedHome(running.home), control.Info())
    os.kill(pid, signal.SIGCONT)
    assert refused.value.hint == "it may be stopped (SIGSTOP) or its disk may hang"
    running("status")


def test_a_supervisor_that_is_killed(running: Project) -> None:
    """`gapless run` takes back what serves, and deploys go on."""
    running.kill(running.json("status")["supervisor"]["pid"])
    wait_until(lambda: running.json("status")["supervisor"] is None)
    said = hint(running("deploy", status=1))
    assert said == "start it with `gapless run`"
    running.start(*said.split("`")[1].split()[1:])
    wait_until(lambda: running.json("status")["supervisor"])


def test_an_address_that_somebody_has(project: Project) -> None:
    """Without that process, or with another `listen`, the same command works."""
    with socket.create_server(("127.0.0.1", project.port)):
        said = hint(project("run", status=1))
    assert said == "stop that process, or change `listen` in gapless.toml"
    project.supervise()


def test_a_changed_address(world: Embedded) -> None:
    """With the old one in `listen` again the next supervisor goes on; it never stopped serving."""
    first, was = refused_elsewhere(world)
    world.says(f"put {was} back into `listen`, or end that instance first: `kill {first.pid}`")
    world.listen = was
    world.configure(world.project)
    world.up()
    assert ask(world.address) == f"r1 {first.pid}"


def test_a_socket_unit_that_says_otherwise(project: Project, run: start) -> None:
    """When `listen` and what is handed in are the same, it runs."""
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", project.port)) as same:
        refused = run(*project.command("run"), cwd=project.folder, sockets=[other])
        assert refused.status() == 1
        assert hint(refused.output) == "make `listen` and the socket unit say the same"
        run(*project.command("run"), cwd=project.folder, sockets=[same])
        wait_until(lambda: project.answers() == "one")


def test_a_directory_that_is_not_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Private sockets of a deep project are elsewhere: with that removed, or an XDG_RUNTIME_DIR of one's own."""
    home = EmbeddedHome(tmp_path / DEEP)
    home.root.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    elsewhere = Path(home.private("r1.1")).parent
    elsewhere.chmod(0o755)
    with pytest.raises(GaplessError) as refused:
        home.private("r1.1")
    assert refused.value.hint == f"remove {elsewhere}, or set XDG_RUNTIME_DIR to a directory of your own"
    elsewhere.rmdir()
    home.private("r1.1")
    elsewhere.chmod(0o755)
    (tmp_path / "own").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "own"))
    home.private("r1.1")


# A pause.


def test_a_pause_out_of_bounds(running: Project) -> None:
    """The longest that the advice names is accepted."""
    said = hint(running("pause", "--at-most", "11m", status=2))
    assert said == "--at-most 10m is the longest"
    running("pause", *said.split()[:2])
    running("resume")


# A probe, and what is asked of nobody who runs.


PROBE = [
    ("ftp://127.0.0.1", [], "give it as http://host:port"),
    ("/a b", [], "what is neither ASCII nor visible is written with %"),
    ("", ["--kinds", "gett=1"], "the kinds are"),
    ("", ["--kinds", "get=many"], "write a weight as get=2"),
    ("http://nowhere.invalid", [], "check the host in the URL"),
    ("", ["--report", "/proc/none/proof.html"], "choose another path"),
]


@pytest.mark.parametrize(("url", "more", "advised"), PROBE, ids=[one[2][:20] for one in PROBE])
def test_a_probe_as_it_is_advised(running: Project, tmp_path: Path, url: str, more: list[str], advised: str) -> None:
    """What the advice shows is accepted, and the probe ends well."""
    here = f"http://127.0.0.1:{running.port}"
    refused = running.start("probe", here + url if url.startswith("/") else url or here, "--duration", "300ms", *more)
    assert refused.status() > 0
    assert advised in hint(refused.output)
    right = {"--kinds": "get=2", "--report": str(tmp_path / "proof.html")}
    page = url.replace(" ", "%20") if url.startswith("/") else ""
    running("probe", here + page, "--duration", "300ms", *([more[0], right[more[0]]] if more else []))


def test_a_destination_as_it_is_advised(project: Project) -> None:
    """A name, a file, and settings of its own: each advice leads to the next, and the last is a destination."""
    assert hint(project("config", "-d", "Staging!", status=2)) == "for example: staging"
    said = hint(project("config", "-d", "staging", status=2))
    assert said.startswith("write one: what it sets, `name` and `listen` at least")
    over = project.folder / "gapless.staging.toml"
    over.write_text('listen = "127.0.0.1:1"\n')
    assert hint(project("config", "-d", "staging", status=2)) == "set another `name` in gapless.staging.toml"
    over.write_text('name = "shop-staging"\nlisten = "127.0.0.1:1"\n')
    assert "shop-staging" in project("config", "-d", "staging")
    assert "up -d staging" in hint(project("status", "-d", "staging", status=1))


def test_settings_as_they_are_advised(project: Project) -> None:
    """`gapless config --example` prints a value that is accepted."""
    project.configure("drain = { linger = true }")
    toml = project.folder / "gapless.toml"
    toml.write_text(toml.read_text().replace('drain = { linger = "1s", requests = "5s", streams = "2s" }\n', ""))
    said = hint(project("config", status=2))
    (shown,) = re.findall('^linger = ".*?"', project(*said.split("`")[1].split()[1:]), re.MULTILINE)
    toml.write_text(toml.read_text().replace("linger = true", shown))
    project("config")


def test_a_proof_behind_a_unix_socket(running: Project) -> None:
    """With the address of what is in front the deploy is proven."""
    toml = running.folder / "gapless.toml"
    whole = toml.read_text()
    toml.write_text(whole.replace(f"127.0.0.1:{running.port}", f"unix:{running.folder}/shop.sock"))
    said = hint(running("deploy", "--prove", status=2))
    assert said == "name the address of the proxy in front: --prove-url http://127.0.0.1:80"
    running("deploy", "--prove", "--prove-url", f"http://127.0.0.1:{running.port}", "-n")
    toml.write_text(whole)
