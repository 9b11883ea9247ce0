"""gapless serve, from load to READY=1: nothing is accepted in public before it is proven."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from tests.support import APPS, GAPLESS, Started, get, keep_alive_client, listening, start, status_of, wait_until


def serve(run: start, sock: socket.socket, app: str, *flags: str, **env: str) -> Started:
    return run(*GAPLESS, "serve", app, "--app-dir", APPS, "--linger", "1", *flags, sockets=[sock], env=env)


@pytest.mark.parametrize("app", ["app:app", "app:wsgi", "app:factory", "app:no_lifespan"])
def test_serves_every_kind_of_app(run: start, app: str) -> None:
    """ASGI with and without lifespan, WSGI and factories answer on the adopted socket with the release's id."""
    with listening() as sock:
        serve(run, sock, app, "--release", "R1")
        status, headers, _ = get(sock.getsockname(), "/health")
    assert (status, headers["gapless-release"]) == (200, "R1")


@pytest.mark.parametrize(
    ("app", "flags", "said"),
    [
        ("app:wsgi", (), "app:wsgi is taken for wsgi, a guess (it takes 'environ'): --interface makes it sure"),
        ("app:factory", (), "app:factory is called as a factory, a guess (it can be called without arguments)"),
        ("app:wsgi", ("--interface", "wsgi"), ""),
        ("app:factory", ("--factory", "--interface", "asgi"), ""),
        ("app:takes_anything", ("--interface", "asgi"), ""),
    ],
)
def test_a_guess_says_that_it_is_a_guess(run: start, app: str, flags: tuple[str, ...], said: str) -> None:
    """Invariant 8: what was guessed can be read in the log, and said for sure by an option."""
    with listening() as sock:
        one = serve(run, sock, app, *flags)
        assert get(sock.getsockname(), "/health")[0] == 200
        assert said in one.output
        assert said or "guess" not in one.output


def test_ready_is_said_after_the_check_and_the_status_document_tells(run: start, tmp_path: Path) -> None:
    """Invariant 4: order of start-up, private socket, check, warm-up, accept, READY=1; then the status is there."""
    with listening() as sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        flags = ("--release", "R1", "--private", str(tmp_path / "p"), "--check", "/health", "--warm", "/slow")
        one = serve(run, sock, "app:app", *flags, NOTIFY_SOCKET=str(tmp_path / "notify"))
        while manager.recv(100) != b"READY=1\nSTATUS=serving R1":
            assert "serving" not in one.output
        said = [line.split()[1] for line in one.output.splitlines() if len(line.split()) == 2]
        assert said[:5] == ["starting", "checking", "warming", "proven", "serving"]
        assert "warm-up GET /slow answered 200" in one.output
        with keep_alive_client(sock) as keep_alive:
            keep_alive.request("GET", "/")
            keep_alive.getresponse().read()
            document = status_of(tmp_path / "p")
    assert {key: document[key] for key in ("release", "state", "connections", "requests", "pid")} == {
        "release": "R1",
        "state": "serving",
        "connections": 1,
        "requests": 0,
        "pid": one.pid,
    }
    assert time.time() - 30 < document["since"] < time.time()


def test_the_check_is_tried_again_until_it_holds(run: start) -> None:
    """An app that needs a moment for its dependencies gets it, within the check's time-out."""
    with listening() as sock:
        one = serve(run, sock, "app:healthy_third_time", "--check", "/health")
        assert get(sock.getsockname())[0] == 200
        assert "serving" in one.output


@pytest.mark.parametrize("app", ["app:sees", "app:sees_wsgi"])
def test_the_app_sees_on_the_private_socket_what_it_sees_in_public(run: start, app: str) -> None:
    """A middleware that reads the client's address or the server's port refuses no good release."""
    with listening() as sock:
        one = serve(run, sock, app, "--check", "/sees", "--warm", "/sees", "--check-header", "x-probe=1")
        assert get(sock.getsockname(), "/sees")[0] == 200
        host, port = sock.getsockname()
        assert one.output.count(f"sees 127.0.0.1 at {host}:{port} by http") == 3
        assert "with 1" in one.output


@pytest.mark.parametrize("by", ["option", "variable"])
def test_an_app_that_insists_on_https_is_asked_so(run: start, by: str) -> None:
    """As over a proxy that has ended TLS: by its scheme, and by X-Forwarded-Proto."""
    flags = ("--check-scheme", "https", "--check-header", "a=b c") if by == "option" else ()
    env = {} if flags else {"GAPLESS_CHECK_SCHEME": "https", "GAPLESS_CHECK_HEADERS": "a=b c\tx=y"}
    with listening() as sock:
        one = serve(run, sock, "app:https_only", "--check", "/", *flags, **env)
        assert get(sock.getsockname())[0] == 301
        assert "asked by https, for https, with b c" in one.output


@pytest.mark.parametrize("option", ["--check", "--warm"])
def test_what_is_no_path_is_refused_before_the_app_is_loaded(run: start, option: str) -> None:
    """Invariant 8: wrong use, at once, and not a minute of questions that cannot be asked."""
    with listening() as sock:
        one = serve(run, sock, "app:app", option, "nothere")
        assert one.status() == 2
        assert "'nothere' is not a path in a URL: it begins with /" in one.output


def test_no_cancelled_request_of_the_check_hides_the_apps_own_errors(run: start) -> None:
    """Invariant 8: the last lines of a release that failed are its own, and no traceback of ours."""
    with listening() as sock:
        one = serve(run, sock, "app:slow_to_close", "--check", "/", "--interface", "wsgi", "--check-timeout", "2s")
        assert one.status() != 0
        assert "it answered 500" in one.output
        assert "CancelledError" not in one.output


FAILURES = [
    ("app:app", ("--check", "/status/500"), "it answered 500", "ok"),
    ("app:app", ("--check", "/status/302"), "it redirects (302) to /elsewhere", "answers itself, /elsewhere perhaps"),
    ("app:https_only", ("--check", "/"), "it redirects (301) to https://localhost/", 'set `[check] scheme = "https"`'),
    ("app:app", ("--check", "/slow", "--check-timeout", "500ms"), "it did not answer in time", "blocking its loop"),
    ("app:app", ("--check", "/hang-loop", "--check-timeout", "500ms"), "Timeout", "app.py"),
    ("app:other_release", ("--release", "R1", "--check", "/"), "release R0 answered instead of R1", "does the app set"),
    ("app:fails_in_lifespan", (), "the database is not there", "RuntimeError"),
    ("app:says_failed", (), "run them first", "no migrations"),
    ("app:fails_at_length", (), "the app: LookupError: no such host", "elsewhere"),
    ("app:hangs_in_lifespan", ("--check-timeout", "500ms"), "start-up did not end within 0.5 s", "[check] timeout"),
    ("app:blocks_in_lifespan", ("--check-timeout", "500ms"), "Timeout", "blocks_in_lifespan"),
    ("app:nothing", (), "app has no attribute 'nothing'", "defined there: app, wsgi"),
    ("nothing:app", (), "there is no such module", "--app-dir"),
    ("broken_import:app", (), "it raised", "1 / 0"),
    ("missing_import:app", (), "No module named 'not_installed'", "import not_installed"),
    ("app", (), "it is not written as MODULE:APP", "gapless serve"),
    ("app:two_too_many", (), "cannot guess whether it is ASGI 3", "--interface wsgi"),
    ("app:takes_anything", (), "app:takes_anything takes (*args)", "for one that makes the app, --factory"),
    ("app:takes_anything", ("--factory",), "it raised TypeError", ""),
    ("app:app", ("--interface", "wsgi"), "it is async, which WSGI is not", "--interface asgi"),
    ("app:broken_factory", (), "no settings", "LookupError"),
    ("app:__name__", (), "it is a str, which cannot be called", ""),
]


@pytest.mark.parametrize(("app", "flags", "cause", "more"), FAILURES)
def test_an_app_that_cannot_be_proven_never_accepts(
    run: start, app: str, flags: tuple[str, ...], cause: str, more: str
) -> None:
    """Invariants 4 and 8: exit status not 0, the cause and the evidence in the log, not one public connection."""
    quick = () if "--check-timeout" in flags else ("--check-timeout", "2s")
    with listening() as sock:
        one = serve(run, sock, app, *flags, *quick)
        with socket.create_connection(sock.getsockname()) as visitor:
            visitor.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.status() != 0
            assert cause in one.output
            assert more in one.output
            # The visitor is still in the queue: the next to accept gets it, unread.
            connection, _ = sock.accept()
            with connection:
                assert connection.recv(100).startswith(b"GET /")


def test_a_hung_loop_stops_the_watchdog_pings(run: start, tmp_path: Path) -> None:
    """Pings come from the event loop: when the app blocks it, the manager hears nothing more."""
    with listening() as sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        serve(run, sock, "app:app", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        pings = 0
        while pings < 3:
            pings += manager.recv(100) == b"WATCHDOG=1"
        with socket.create_connection(sock.getsockname()) as visitor:
            visitor.sendall(b"GET /hang-loop HTTP/1.1\r\nHost: x\r\n\r\n")
            manager.settimeout(1.0)  # five pings are due in this time
            with pytest.raises(TimeoutError):
                all(manager.recv(100) for _ in range(8))


def test_sigterm_during_start_up_ends_it_at_once(run: start) -> None:
    """Invariant 4: a candidate that is told to stop while it starts has nothing to drain."""
    with listening() as sock:
        one = serve(run, sock, "app:hangs_in_lifespan")
        one.says("starting")
        one.kill(signal.SIGTERM)
        assert one.status(5) == 0
        assert "serving" not in one.output


def test_without_activation_it_binds_every_address(run: start) -> None:
    """Plain local development: --bind is used, all of them, and a port in use is a clear error."""
    with listening() as taken:
        port = taken.getsockname()[1]
        one = run(*GAPLESS, "serve", "app:app", "--app-dir", APPS, "--bind", f"127.0.0.1:{port}")
        assert one.status() == 1
        assert f"Error: cannot listen on 127.0.0.1:{port}: Address already in use" in one.output
    ports = free_ports(2)
    run(*GAPLESS, "serve", "app:app", "--app-dir", APPS, *(f"--bind=127.0.0.1:{port}" for port in ports))
    for port in ports:
        wait_until(lambda port=port: answers(port))  # type: ignore[misc]  # mypy cannot infer a default's type


def answers(port: int) -> bool:
    try:
        return get(("127.0.0.1", port))[0] == 200
    except ConnectionRefusedError:
        return False


def free_ports(count: int) -> list[int]:
    sockets = [listening() for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
