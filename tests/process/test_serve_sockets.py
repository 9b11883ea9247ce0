"""gapless serve and its sockets: handed in by whatever starts it, or its own; the log says which."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.process.test_serve_start import free_ports
from tests.support import APPS, GAPLESS, Started, get, listening, start

SERVE = [*GAPLESS, "serve", "app:app", "--app-dir", APPS]
WITHOUT_VARIABLES = ["env", "-u", "LISTEN_FDS", "-u", "LISTEN_PID"]  # start_server, circus, einhorn


def name(sock: socket.socket) -> str:
    return f"127.0.0.1:{sock.getsockname()[1]}"


def test_it_says_where_it_listens(run: start, tmp_path: Path) -> None:
    """Invariant 8: each address, with the port that the kernel chose, and who holds it."""
    with listening() as sock:
        run(*SERVE, sockets=[sock]).says(f"listening on {name(sock)} (activated: the manager holds it)")
    path = tmp_path / "s"
    alone = run(*SERVE, "--bind", "127.0.0.1:0", "--bind", f"unix:{path}")
    alone.says(f", unix:{path} (not activated, LISTEN_FDS is not set: this process alone holds it)")
    assert get(listens(alone), "/health")[0] == 200


def listens(started: Started) -> tuple[str, int]:
    """The first address that it says it listens on."""
    host, _, port = started.output.partition("listening on ")[2].split()[0].rstrip(",").rpartition(":")
    return host, int(port)


def test_a_descriptor_can_be_named(run: start) -> None:
    """A manager that sets no LISTEN_FDS, but leaves the socket open: `--bind fd:N` serves on it."""
    with listening() as sock:
        one = run(*WITHOUT_VARIABLES, *SERVE, "--bind", "fd:3", sockets=[sock])
        one.says(f"listening on {name(sock)} (handed in by number: whoever started this holds it)")
        assert get(sock.getsockname(), "/health")[0] == 200


def test_a_descriptor_that_is_none_is_refused(run: start) -> None:
    """Invariant 8: not open, or no listening socket."""
    one = run(*SERVE, "--bind", "fd:77")
    assert one.status() == 1
    assert "Error: cannot adopt inherited descriptor 77: Bad file descriptor" in one.output
    assert "was it handed in by whoever started this program?" in one.output


def test_a_socket_that_was_left_open_without_a_word_is_named(run: start) -> None:
    """Invariant 8: binding an address of its own beside it is not silent, and the log says how to use it."""
    with listening() as sock:
        one = run(*WITHOUT_VARIABLES, *SERVE, sockets=[sock])
        one.says(f"descriptor 3, from whoever started this, listens on {name(sock)} and is not used: --bind fd:3")


def test_variables_that_leaked_from_another_program_are_ignored(run: start) -> None:
    """A shell that systemd had started by activation leaves LISTEN_PID behind: no reason not to serve."""
    (port,) = free_ports(1)
    one = run(*SERVE, "--bind", f"127.0.0.1:{port}", env={"LISTEN_FDS": "1", "LISTEN_PID": "1"})
    one.says("LISTEN_FDS is for the process 1, and descriptor 3 is no listening socket: ignored")
    one.says("INFO serving")
    assert get(("127.0.0.1", port), "/health")[0] == 200


def test_a_release_whose_sockets_were_lost_is_refused(run: start) -> None:
    """Invariant 1: what a manager of ours starts has sockets; without them it must not serve somewhere else."""
    one = run(*SERVE, env={"LISTEN_FDS": "1", "LISTEN_PID": "1", "GAPLESS_RELEASE": "R1"})
    assert one.status() == 1
    assert "something between the manager and this program forked" in one.output
