"""The embedded supervisor: started, asked, lied to, stopped. The contract has its own suite."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.switch.embedded import home as home_module
from gapless.switch.embedded.lock import short
from gapless.switch.manager import Role
from tests.contract.worlds import Embedded, Later, ask, live
from tests.support import wait_until


def test_a_second_supervisor_is_refused_and_the_first_is_named(world: Embedded) -> None:
    """Invariant 8: also right after its start, and nothing is disturbed."""
    first = world.up()
    second = world.up()
    assert second.wait() == 1
    world.says(f"pid {first.pid} does so already")
    assert world.answers(first.pid)


def test_an_address_in_use_names_who_has_it(world: Embedded) -> None:
    """Invariant 8: the address, the pid and the program."""
    with socket.create_server(world.address):
        assert world.up().wait() == 1
    world.says(f"cannot listen on {world.listen}: the address is in use by pid {os.getpid()} (")


def test_sigterm_drains_and_a_second_one_hurries(world: Embedded) -> None:
    """Invariant 6: new connections are refused at once, what was accepted is answered, the status is 0."""
    supervisor = world.up()
    first = live(world, world.release("r1"))
    held = Later(world.address, "/hold")
    ask(world.address)
    supervisor.terminate()
    world.says("stopping")
    wait_until(lambda: _is_refused(world.address))
    assert [one.role for one in world.manager.instances()] == [Role.RETIRING]
    with pytest.raises(GaplessError, match="the supervisor is stopping"):
        world.manager.start(world.release("r2"), 1)
    supervisor.terminate()
    world.says("hurrying")
    assert supervisor.poll() is None  # the app decides what a second SIGTERM means to it
    (world.shared / "go").touch()
    assert held.result() == f"r1 {first.pid}"
    assert supervisor.wait(10) == 0
    assert not world.records()
    assert not list((world.home / "run").glob("*.sock"))


def _is_refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 1).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


def test_a_deep_project_works(tmp_path: Path) -> None:
    """Paths longer than the 107 bytes of a Unix socket's name: control, notify and private sockets."""
    world = Embedded(tmp_path.joinpath(*["a-directory-with-a-long-name"] * 6))
    try:
        world.up()
        assert len(str(world.home / "run/control.sock")) > 150
        live(world, world.release("r1"))
        private = Path(world.records()[0].private)
        assert len(str(private)) <= home_module.LONGEST_PATH
        assert private.parent.stat().st_mode & 0o777 == 0o700
        assert ask(world.address).startswith("r1 ")
        world.processes[-1].terminate()
        assert world.processes[-1].wait(60) == 0
        assert not private.parent.exists(), "nothing of it is left outside the project"
    finally:
        world.down()


@pytest.mark.parametrize(
    "request_line",
    [
        b"\n",
        b"not json\n",
        b'{"verb": "dance"}\n',
        b'{"verb": "start", "release": 1, "timeout": 1}\n',
        b'{"verb": "start", "release": "r1"}\n',
        b"[" * 60_000 + b"\n",
        b"x" * 100_000 + b"\n",
        b"\xff\xfe\n",
        b"unfinished",
    ],
    ids=lambda line: line[:20].decode("latin-1").strip() or "empty",
)
def test_malformed_requests_are_refused_and_harm_nothing(world: Embedded, request_line: bytes) -> None:
    """Invariant 8: the answer says so, the next request works."""
    supervisor = world.up()
    with socket.socket(socket.AF_UNIX) as client, short(world.home / "run/control.sock") as name:
        client.settimeout(10)
        client.connect(name)
        client.sendall(request_line)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answers:
            answer = json.loads(answers.readline())
    assert answer["error"]["operation"] == "understand"
    assert world.answers(supervisor.pid)
    assert "Traceback" not in world.output.read_text()


def test_the_control_socket_is_for_its_owner_only(world: Embedded) -> None:
    """Who may deploy may run anything as this user."""
    world.up()
    assert (world.home / "run/control.sock").stat().st_mode & 0o777 == 0o600
    assert (world.home / "run").stat().st_mode & 0o777 == 0o700


def test_the_first_release_is_made_by_the_given_command(world: Embedded) -> None:
    """It runs once the sockets are up, and not again when there is a current release."""
    world.release("r1")
    code = (
        "from pathlib import Path; from gapless.switch.embedded.manager import EmbeddedManager; "
        f"from gapless.switch.engine import Switchover; m = EmbeddedManager(Path({str(world.home)!r})); "
        "print('first:', Switchover(m, 'r1', 10).run())"
    )
    supervisor = world.up(sys.executable, "-c", code)
    world.says("first: switched")
    assert ask(world.address).startswith("r1 ")
    supervisor.terminate()
    assert supervisor.wait(10) == 0
    world.up(sys.executable, "-c", code)
    assert ask(world.address).startswith("r1 ")
    assert world.output.read_text().count("first: switched") == 1


def test_without_a_first_release_the_supervisor_ends_with_status_1(world: Embedded) -> None:
    """Invariant 8: a `gapless run` that cannot make its first release does not pretend to run."""
    assert world.up(sys.executable, "-c", "raise SystemExit(4)").wait(10) == 1
    world.says("the command that makes it ended with status 4")
