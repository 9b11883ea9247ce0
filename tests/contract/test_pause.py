"""The contract of every manager: an instance that is paused, and the timer that ends it."""

from __future__ import annotations

import os
import sys

from gapless.switch import orders
from gapless.switch.manager import Instance
from tests.contract.worlds import Later, World, live, traffic
from tests.support import wait_until

SERVE = [sys.executable, "-m", "gapless", "serve", "wsgiref.simple_server:demo_app"]


def serving(world: World) -> Instance:
    """The live instance, of `gapless serve`."""
    return live(world, world.release("r1", command=SERVE))


def test_visitors_of_a_paused_instance_wait(world: World) -> None:
    """Invariants 1 and 7: in the kernel's queue, and nobody is lost; each order can be repeated."""
    first = serving(world)
    with traffic(world.address):
        for _ in range(2):
            assert world.manager.pause(first)
        wait_until(lambda: orders.is_quiet(orders.status(first.private, 3)))
        visitor = Later(world.address)
        visitor.join(0.5)
        assert visitor.is_alive()
        for _ in range(2):
            assert world.manager.resume(first)
        visitor.result()
    assert world.manager.instances() == [first]


def test_the_timer_outlives_whoever_armed_it(world: World) -> None:
    """Invariant 5: the caller pauses and is killed, and the instance accepts again in time."""
    serving(world)
    code = "live = manager.instances()[0]; manager.arm(live, 2); manager.pause(live)"
    world.caller(f"{code}; import os, signal; os.kill(os.getpid(), signal.SIGKILL)").wait()
    visitor = Later(world.address)
    visitor.join(0.3)
    assert visitor.is_alive()
    visitor.join(5)
    assert not visitor.is_alive()
    visitor.result()


def test_there_is_one_timer_and_it_can_be_disarmed(world: World) -> None:
    """Invariant 7: the one armed last counts, and none after it was disarmed, however often."""
    first = serving(world)
    for seconds in (1, 60):
        world.manager.arm(first, seconds)
    for _ in range(2):
        world.manager.disarm()
    world.manager.arm(first, 1)
    world.manager.arm(first, 60)
    assert world.manager.pause(first)
    visitor = Later(world.address)
    visitor.join(2.5)
    assert visitor.is_alive()
    world.manager.disarm()
    assert world.manager.resume(first)
    visitor.result()


def test_the_timer_of_an_instance_that_is_gone_touches_nobody(world: World) -> None:
    """Invariant 3: neither the one that was started in its place, nor the manager."""
    first = serving(world)
    world.manager.arm(first, 1)
    os.kill(first.pid, 9)
    again = wait_until(lambda: [one for one in world.manager.instances() if one.ready and one.id != first.id])[0]
    assert world.manager.pause(again)
    visitor = Later(world.address)
    visitor.join(2.5)
    assert visitor.is_alive()
    world.manager.arm(first, 1)
    assert world.manager.resume(again)
    visitor.result()
    world.manager.disarm()
