"""The embedded supervisor is killed, and the next one takes over."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time

import msgspec
import pytest

from gapless.switch.embedded import records
from gapless.switch.embedded.control import UnreachableError
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.states import InstanceState
from gapless.switch.engine import Outcome, Switchover, repair
from gapless.switch.manager import Role
from tests.contract.worlds import Embedded, Later, ask, is_gone, live, named, refused_elsewhere, traffic
from tests.support import ACTIVATE, wait_until


def test_a_killed_supervisor_is_followed_by_one_that_takes_everything_back(world: Embedded) -> None:
    """Invariants 1 and 5: SIGKILL under traffic; the live instance never notices, and all goes on afterwards."""
    supervisor = world.up()
    first = live(world, world.release("r1"))
    inode = world.inode()
    with traffic(world.address):
        # 1. No supervisor: the release serves, commands say what to do.
        supervisor.kill()
        supervisor.wait()
        assert ask(world.address) == f"r1 {first.pid}"
        with pytest.raises(UnreachableError, match="nothing listens on") as caught:
            world.manager.instances()
        assert "gapless run" in caught.value.hint
        # 2. The next one has the same socket and the same instance.
        world.up()
        assert world.manager.instances() == [first]
        assert world.inode() == inode
        # 3. It deploys …
        assert Switchover(world.manager, world.release("r2"), 10).run() is Outcome.SWITCHED
        wait_until(lambda: [one.release for one in world.manager.instances()] == ["r2"])
    # 4. … and starts a dead live instance again.
    second = world.manager.instances()[0]
    os.kill(second.pid, signal.SIGKILL)
    release, pid = ask(world.address).split()
    assert release == "r2"
    assert int(pid) != second.pid
    assert world.inode() == inode


def test_an_adopted_live_instance_that_dies_is_started_again(world: Embedded) -> None:
    """Invariant 1: it is no child of the new supervisor; its pidfd tells all the same."""
    world.up().kill()
    world.processes[-1].wait()
    world.up()
    first = live(world, world.release("r1"))
    world.processes[-1].kill()
    world.processes[-1].wait()
    world.up()
    os.kill(first.pid, signal.SIGKILL)
    assert int(ask(world.address).split()[1]) != first.pid
    world.says(f"{first.id} (pid {first.pid}) ended")


def test_adoption_keeps_the_retiring_retiring_and_ends_candidates_without_a_deployer(world: Embedded) -> None:
    """Invariants 4, 5 and 6: the drain is finished, and what was not proven does not become so behind our back."""
    # 1. r1 drains with a request under way, r2 is live, r3 boots.
    supervisor = world.up()
    first = live(world, world.release("r1"))
    held = Later(world.address, "/hold")
    assert ask(world.address).startswith("r1 ")
    assert Switchover(world.manager, world.release("r2"), 10).run() is Outcome.SWITCHED
    world.release("r3", "late")
    world.caller("manager.start('r3', 60)")
    booting = wait_until(lambda: [one for one in world.manager.instances() if one.release == "r3"])[0]
    # 2. The supervisor is killed; a new one comes.
    supervisor.kill()
    supervisor.wait()
    world.up()
    retiring = named(world, first)
    assert retiring
    assert (retiring.role, retiring.ready) == (Role.RETIRING, True)
    wait_until(lambda: [one.release for one in world.manager.instances()] == ["r1", "r2"])
    wait_until(lambda: is_gone(booting.pid))
    # 3. r1 ends with its last answer.
    (world.shared / "go").touch()
    assert held.result() == f"r1 {first.pid}"
    wait_until(lambda: [(one.release, one.role) for one in world.manager.instances()] == [("r2", Role.LIVE)])


def test_an_instance_that_was_never_told_to_drain(world: Embedded) -> None:
    """Invariant 5: its supervisor was killed between the note of that and the signal; the next one sends it."""
    world.up()
    first = live(world, world.release("r1"))
    world.processes[-1].kill()
    world.processes[-1].wait()
    [record] = world.records()
    records.write(EmbeddedHome(world.home), msgspec.structs.replace(record, state=InstanceState.DRAINING))
    with traffic(world.address):
        world.up()
        wait_until(lambda: is_gone(first.pid), 10, "the end of what drains")
        assert int(ask(world.address).split()[1]) != first.pid


def test_supervisors_killed_at_random_instants_lose_no_instance(world: Embedded) -> None:
    """Invariant 5: whatever runs is known to the next supervisor, and the next command brings it to rest."""
    world.up()
    live(world, world.release("r0"))
    chance = random.Random(1)  # noqa: S311 -- not a secret
    with traffic(world.address):
        for number in range(1, 7):
            world.release(f"r{number}")
            deployer = world.caller(
                "from gapless.switch.engine import Switchover\n"
                "from gapless.errors import GaplessError\n"
                f"try: Switchover(manager, 'r{number}', 10).run()\n"
                "except GaplessError: pass"
            )
            time.sleep(chance.uniform(0.1, 0.4))  # not a wait for anything: the instant is the point
            world.processes[-2].kill()  # the supervisor
            world.processes[-2].wait()
            deployer.wait()
            world.up()
            known = {one.pid for one in world.manager.instances()}
            assert {os.getsid(pid) for pid in world.apps()} <= known
        repair(world.manager)
        wait_until(lambda: [one.role for one in world.manager.instances()] == [Role.LIVE])
        assert {os.getsid(pid) for pid in world.apps()} == {one.pid for one in world.manager.instances()}


def test_a_changed_listen_address_is_refused_while_an_instance_has_the_old_one(world: Embedded) -> None:
    """Invariant 1: it is an operation of its own; the release goes on serving meanwhile."""
    first, was = refused_elsewhere(world)
    world.says(f"(pid {first.pid}) listens on {was}, gapless.toml does not")
    assert ask(world.address) == f"r1 {first.pid}"


def test_what_releases_write_is_in_their_log_and_on_the_console(world: Embedded) -> None:
    """An instance writes to its own file: it goes on when the supervisor is killed."""
    world.up()
    live(world, world.release("r1"))
    world.says("r1 | hello from r1\n")
    assert (world.home / "log/r1.log").read_text() == "hello from r1\n"


def test_a_socket_activated_supervisor_uses_the_socket_that_it_was_given(world: Embedded) -> None:
    """sd_listen_fds(3): systemd holds the socket of `gapless run`; a killed supervisor gets it again."""
    with socket.create_server(world.address) as given:
        activated = [sys.executable, "-c", ACTIVATE, str(given.fileno())]
        for _ in range(2):
            supervisor = world.up(through=activated, give=[given.fileno()])
            assert world.inode() == os.fstat(given.fileno()).st_ino
            if not world.manager.current():
                live(world, world.release("r1"))
            assert ask(world.address).startswith("r1 ")
            supervisor.kill()
            supervisor.wait()
        world.listen = "127.0.0.1:1"
        os.kill(world.records()[0].pid, signal.SIGKILL)
        world.configure(world.project)
        assert world.up(through=activated, give=[given.fileno()]).wait() == 1
    world.says(f"the socket 127.0.0.1:{world.address[1]} from systemd")


def test_a_record_that_a_power_cut_left_empty_keeps_nothing_from_starting(world: Embedded) -> None:
    """Invariant 5: records are not synced to disk, so an unreadable one is of an instance that is long gone."""
    world.up()
    live(world, world.release("r1"))
    world.down()
    torn = world.home / "run" / "r1.123456.instance"
    torn.touch()
    world.up()
    assert ask(world.address).startswith("r1 ")
    assert not torn.exists()
