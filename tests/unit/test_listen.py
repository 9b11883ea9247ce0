"""gapless.listen: adopt what was handed in, bind what was not."""

from __future__ import annotations

import contextlib
import io
import socket
import sys
from pathlib import Path

import pytest

from gapless import GaplessError, listen
from gapless.listen import bind, expand
from gapless.serve.sockets import IP_TRANSPARENT, only_address
from tests.support import backlog_of, listening, start

SHOW = """
import os, socket, gapless
for sock in gapless.listen({arguments}):
    print(sock.family.name, sock.proto, os.get_inheritable(sock.fileno()), sock.getblocking(), sock.getsockname())
    sock.listen(7)
print([name for name in os.environ if name.startswith("LISTEN_")])
"""


def show(run: start, *sockets: socket.socket, arguments: str = "", **env: str) -> tuple[int, str]:
    started = run(sys.executable, "-c", SHOW.format(arguments=arguments), sockets=sockets, env=env)
    return started.status(), started.output


def test_adopts_tcp_and_unix_sockets_with_their_true_family(run: start, tmp_path: Path) -> None:
    """Invariant 1: v4, v6 and Unix sockets come back as what they are (a wrong family costs 42 ms a request)."""
    with (
        listening() as v4,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as v6,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        status, output = show(run, v4, v6, unix)
    assert status == 0, output
    assert [line.split()[0] for line in output.splitlines()[:3]] == ["AF_INET", "AF_INET6", "AF_UNIX"]
    assert [line.split()[1] for line in output.splitlines()[:3]] == ["6", "6", "0"]


def test_adopted_sockets_are_ours_alone_and_the_variables_are_gone(run: start) -> None:
    """Trap 6: no child inherits the descriptor, nothing blocks, and no child sees LISTEN_*."""
    with listening() as sock:
        status, output = show(run, sock)
    assert status == 0, output
    assert " False False " in output
    assert output.splitlines()[-1] == "[]"


def test_listening_again_leaves_the_shared_backlog_alone(run: start) -> None:
    """Trap 4: whoever adopts calls listen(), and the backlog of all who share the socket stays as it was."""
    with listening(backlog=99) as sock:
        assert backlog_of(sock) == 99
        status, output = show(run, sock)
        assert (status, backlog_of(sock)) == (0, 99), output


def test_takes_sockets_by_name(run: start) -> None:
    """FileDescriptorName= picks sockets, and asking for another name says which there are."""
    with listening() as web, listening() as admin:
        status, output = show(run, web, admin, arguments="name='admin'", LISTEN_FDNAMES="web:admin")
        assert (status, str(admin.getsockname()) in output, str(web.getsockname()) in output) == (0, True, False)
        status, output = show(run, web, admin, arguments="name='api'", LISTEN_FDNAMES="web:admin")
        assert status == 1
        assert "the inherited ones are named: admin, web" in output


@pytest.mark.parametrize(
    ("env", "cause"),
    [
        ({"TEST_LISTEN_FDS": "three"}, "LISTEN_FDS is 'three', not a number"),
        ({"TEST_LISTEN_PID": "1"}, "LISTEN_PID is 1, but this process is"),
        ({"TEST_LISTEN_FDS": "9"}, "Bad file descriptor"),
    ],
)
def test_a_broken_environment_is_refused_with_the_reason(run: start, env: dict[str, str], cause: str) -> None:
    """Invariant 8, trap 6: promised sockets that are not there never end in a silent fallback."""
    with listening() as sock:
        status, output = show(run, sock, **env)
    assert status == 1
    assert cause in output


def test_a_descriptor_that_does_not_listen_is_refused(run: start) -> None:
    """Invariant 8: a connected or fresh socket is named as what it is not."""
    with socket.socket() as sock:
        status, output = show(run, sock)
    assert status == 1
    assert "inherited descriptor 3: it is not a listening stream socket" in output


def test_a_descriptor_that_is_no_socket_is_refused(run: start) -> None:
    """Invariant 8: a file at descriptor 3 is named as what it is not."""
    code = (
        "import os; os.open('/dev/null', os.O_RDONLY); os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
    )
    started = run(sys.executable, "-c", code + "import gapless; gapless.listen()")
    assert started.status() == 1
    assert "inherited descriptor 3: it is not a socket" in started.output


def test_without_activation_the_fallback_is_bound() -> None:
    """The same program works in plain local development, on several addresses at once."""
    first, second = listen(["127.0.0.1:0", "[::1]:0"])
    with first, second:
        assert [one.family for one in (first, second)] == [socket.AF_INET, socket.AF_INET6]
        with socket.create_connection(first.getsockname()):
            connection, _ = first.accept()
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_stale_unix_socket_is_taken_over_and_a_live_one_is_not(tmp_path: Path) -> None:
    """A socket file without a listener does not stand in the way; one that answers is not stolen."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    (sock,) = listen(f"unix:{path}")
    with sock, pytest.raises(GaplessError, match="Address already in use"):
        listen(f"unix:{path}")


@pytest.mark.parametrize("address", ["8000", "127.0.0.1:http", "127.0.0.1:99999", ""])
def test_an_address_that_is_none_is_refused_with_an_example(address: str) -> None:
    """Invariant 8: the message shows how an address is written."""
    with pytest.raises(GaplessError, match="it is not an address") as caught:
        listen(address)
    assert "127.0.0.1:8000" in caught.value.hint


def test_a_port_in_use_is_named() -> None:
    """Invariant 8: operation, object and cause are in the message."""
    with listening() as sock:
        port = sock.getsockname()[1]
        with pytest.raises(GaplessError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            listen(f"127.0.0.1:{port}")


def test_shutdown_does_not_end_accepting_for_the_others() -> None:
    """Trap 4: shutdown(2) would close the queue for every holder; here it does nothing."""
    (sock,) = listen("127.0.0.1:0")
    with sock, sock.dup() as other:
        sock.shutdown(socket.SHUT_RDWR)
        with socket.create_connection(other.getsockname(), timeout=5):
            other.accept()[0].close()


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    """Invariant 8: a path written wrong costs an error, not the file (connect(2) refuses a regular file, too)."""
    data = tmp_path / "app.db"
    data.write_text("precious")
    with pytest.raises(GaplessError, match="Address already in use"):
        bind(f"unix:{data}")
    assert data.read_text() == "precious"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["[::]:80"], ["[::]:80", "0.0.0.0:80"]),
        (["[0:0:0:0:0:0:0:0]:80"], ["[0:0:0:0:0:0:0:0]:80", "0.0.0.0:80"]),
        (["localhost:80"], ["127.0.0.1:80", "[::1]:80"]),
        (["[::]:80", "0.0.0.0:80"], ["[::]:80", "0.0.0.0:80"]),
        (["[::]:80", "127.0.0.1:80"], ["[::]:80", "127.0.0.1:80"]),
        (["[::]:80", "127.0.0.1:81"], ["[::]:80", "0.0.0.0:80", "127.0.0.1:81"]),
        (["localhost:80", "[::]:80"], ["127.0.0.1:80", "[::]:80"]),
        ([":80", "*:81", "127.0.0.1:82", "[::1]:83"], [":80", "*:81", "127.0.0.1:82", "[::1]:83"]),
        (["unix:/localhost:80", "fd:3", "localhost:0", "no"], ["unix:/localhost:80", "fd:3", "localhost:0", "no"]),
    ],
)  # fmt: skip
def test_what_means_both_families_is_two_addresses(written: list[str], meant: list[str]) -> None:
    """`[::]` and `localhost` are for IPv4 as for IPv6, unless the list has the other one of that port itself."""
    assert expand(written) == meant


def test_without_ipv6_localhost_is_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host has no ::1, nothing is asked for that cannot be bound."""
    monkeypatch.setattr(
        "builtins.open", lambda *_, **__: io.StringIO("fe80000000000000d86bc0fffe1e0001 02 40 20 80 e\n")
    )
    assert expand(["localhost:80"]) == ["127.0.0.1:80"]


def test_the_fallback_listens_for_both_families() -> None:
    """`listen("localhost:…")` answers whoever asks 127.0.0.1, and whoever asks ::1, on a socket of its own family."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for written, hosts in (("localhost", ("127.0.0.1", "::1")), ("[::]", ("::", "0.0.0.0"))):
        sockets = listen(f"{written}:{port}")
        try:
            assert [one.getsockname()[0] for one in sockets] == list(hosts)
            for host in ("127.0.0.1", "::1"):
                socket.create_connection((host, port), 5).close()
        finally:
            for one in sockets:
                one.close()


@pytest.mark.parametrize(
    ("addresses", "only"),
    [
        (["127.0.0.1:0"], "127.0.0.1"),
        (["[::1]:0"], "::1"),
        (["0.0.0.0:0"], None),
        (["[::]:0"], None),
        (["127.0.0.1:0", "127.0.0.2:0"], None),
    ],
)
def test_the_one_address_of_all_visitors(addresses: list[str], only: str | None) -> None:
    """Where there is one for all, no connection is asked for it; else each may have come to another."""
    sockets = [bind(one) for one in addresses]
    try:
        found = only_address(sockets)
        assert found == (only and (only, sockets[0].getsockname()[1]))
        if only:  # ip(7): such a socket takes connections to other addresses
            with contextlib.suppress(PermissionError):
                sockets[0].setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
                assert only_address(sockets) is None
    finally:
        for one in sockets:
            one.close()
