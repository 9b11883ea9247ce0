"""Holding the listening sockets: addresses, options, and what stands in the way."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from gapless.address import Address, absent
from gapless.errors import GaplessError
from gapless.linux import procfs
from gapless.switch.embedded.records import Record
from gapless.switch.embedded.sockets import hold
from gapless.switch.held import inode, restore
from tests.support import backlog_of


def free_port(host: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as one:
        port: int = one.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("written", "reached"),
    [
        (":8000", "127.0.0.1:8000"),
        ("*:8000", "127.0.0.1:8000"),
        ("0.0.0.0:8000", "127.0.0.1:8000"),
        ("192.0.2.1:8000", "192.0.2.1:8000"),
        ("[::]:8000", "[::1]:8000"),
        ("[2001:db8::1]:8000", "[2001:db8::1]:8000"),
        ("unix:/run/shop.sock", "/run/shop.sock"),
    ],
)
def test_what_listens_everywhere_is_reached_on_loopback(written: str, reached: str) -> None:
    """A wildcard can be bound, but is no address to send a proof to, nor one that a proxy names."""
    assert Address.parse(written).reached == reached


@pytest.mark.parametrize(
    ("written", "family", "name"),
    [
        ("127.0.0.1:80", socket.AF_INET, ("127.0.0.1", 80)),
        ("localhost:80", socket.AF_INET, ("127.0.0.1", 80)),
        (":80", socket.AF_INET, ("0.0.0.0", 80)),
        ("*:80", socket.AF_INET, ("0.0.0.0", 80)),
        ("[::1]:80", socket.AF_INET6, ("::1", 80)),
        ("[0:0:0:0:0:0:0:1]:80", socket.AF_INET6, ("::1", 80)),
        ("unix:/run/a.sock", socket.AF_UNIX, "/run/a.sock"),
    ],
)
def test_addresses(written: str, family: socket.AddressFamily, name: object) -> None:
    """What may be written, in the form in which getsockname(2) gives it back."""
    assert Address.parse(written) == Address(written, family, name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "written", ["", "80", "a:b", "h:0", "h:65536", "example.org:80", "unix:a", "unix:/" + "a" * 107]
)
def test_unusable_addresses_are_wrong_use(written: str) -> None:
    """Invariant 8: status 2, the address as it was written, and how to write one."""
    with pytest.raises(GaplessError, match="cannot listen on ") as caught:
        Address.parse(written)
    assert repr(written) in str(caught.value)
    assert caught.value.status == 2
    assert "127.0.0.1:8000" in caught.value.hint


def test_every_socket_is_ready_for_traffic(tmp_path: Path) -> None:
    """Traps 4 and 5: it listens with the full backlog, does not block, has no Nagle, and children do not inherit it."""
    addresses = [f"127.0.0.1:{free_port()}", f"[::1]:{free_port('::1')}", f"unix:{tmp_path / 'a.sock'}"]
    held = hold(addresses, [])
    try:
        assert list(held) == addresses
        most = min(4096, int(Path("/proc/sys/net/core/somaxconn").read_text()))
        for one in held.values():
            assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
            assert (one.getblocking(), one.get_inheritable()) == (False, False)
            if one.family != socket.AF_UNIX:
                assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
                assert backlog_of(one) == most
        assert (tmp_path / "a.sock").stat().st_mode & 0o777 == 0o666
        # What an instance may do to the description that all share:
        tcp = held[addresses[0]]
        tcp.listen(1)
        tcp.setblocking(True)
        tcp.shutdown(socket.SHUT_RD)
        restore(held.values())
        assert (backlog_of(tcp), tcp.getblocking()) == (most, False)
        socket.create_connection(tcp.getsockname(), 1).close()
    finally:
        for one in held.values():
            one.close()


def test_a_stale_socket_file_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    """The file outlives its process; only a refused connection tells."""
    path = tmp_path / "a.sock"
    with hold([f"unix:{path}"], [])[f"unix:{path}"]:
        with pytest.raises(GaplessError, match="the address is in use by another process"):
            hold([f"unix:{path}"], [])
        assert path.is_socket()
    with hold([f"unix:{path}"], [])[f"unix:{path}"], socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_what_was_bound_before_the_failure_is_let_go() -> None:
    """Invariant 8: a failed start leaves no address taken."""
    good = f"127.0.0.1:{free_port()}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bad = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(GaplessError, match=f"cannot listen on {bad}: .* by pid {os.getpid()} ") as caught:
            hold([good, bad], [])
        assert "stop that process" in caught.value.hint
    hold([good], [])[good].close()


def test_where_the_kernel_forbids_it_the_choices_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariants 1 and 8: Yama lets only ancestors take descriptors; the instance is left alone."""

    def forbidden(_pidfd: int, _descriptor: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(procfs, "take", forbidden)
    with socket.create_server(("127.0.0.1", 0)) as one:
        name = f"127.0.0.1:{one.getsockname()[1]}"
        record = Record(
            id="r1.1", release="r1", since=time.time(), drain=1, private="", sockets={name: inode(one)}, pid=os.getpid()
        )
        with pytest.raises(GaplessError, match=rf"running instance r1.1 \(pid {os.getpid()}\): the kernel") as caught:
            hold([name], [record])
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert "kernel.yama.ptrace_scope=0" in caught.value.hint
    assert f"kill {os.getpid()}" in caught.value.hint


def test_a_socket_is_taken_back_once_and_is_the_very_same() -> None:
    """Invariant 1: two instances have it; pidfd_getfd(2) gives the same open file description."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        name = f"127.0.0.1:{one.getsockname()[1]}"
        records = [
            Record(
                id=f"r1.{n}", release="r1", since=n, drain=1, private="", sockets={name: inode(one)}, pid=os.getpid()
            )
            for n in range(2)
        ]
        with hold([name], records)[name] as taken:
            assert inode(taken) == inode(one)
            assert taken.fileno() != one.fileno()
            assert not taken.get_inheritable()
            assert taken.family == socket.AF_INET


def test_of_a_socket_that_nobody_has_any_more_nothing_is_taken() -> None:
    """An instance that only drains has closed it: the address is free, and bound anew."""
    name = f"127.0.0.1:{free_port()}"
    record = Record(id="r1.1", release="r1", since=0, drain=1, private="", sockets={name: 1}, pid=os.getpid())
    hold([name], [record])[name].close()


def test_the_process_that_listens_is_found() -> None:
    """By its name too: people know programs, not numbers."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        comm = Path("/proc/self/comm").read_text().strip()
        assert procfs.listener(one.getsockname()[1]) == f"pid {os.getpid()} ({comm})"
    assert procfs.listener(1) == ""
    assert sys.platform == "linux"


def test_an_address_that_the_host_does_not_have_is_named() -> None:
    """It may be a slip: systemd binds it all the same, because at boot the network may come after the socket."""
    assert absent(["127.0.0.1:80", "192.0.2.1:80", "[::1]:80", "unix:/run/app.sock"]) == ["192.0.2.1:80"]


def test_a_socket_of_both_families_is_that_of_both_addresses() -> None:
    """systemd's own default for `ListenStream=8000`: what it gives is held, and nothing is bound beside it."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as one:
        port = one.getsockname()[1]
        record = Record(
            id="r1.1", release="r1", since=0, drain=1, private="", sockets={f"[::]:{port}": inode(one)}, pid=os.getpid()
        )
        held = hold([f"[::]:{port}", f"0.0.0.0:{port}"], [record])
        try:
            assert {inode(each) for each in held.values()} == {inode(one)}
            assert len(held) == 2
        finally:
            for each in held.values():
                each.close()
