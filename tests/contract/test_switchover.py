"""The contract of every manager: whole switchovers under traffic, and a caller that is killed in one."""

from __future__ import annotations

from gapless.switch.engine import Outcome, Switchover
from gapless.switch.manager import Role
from tests.contract.worlds import Later, World, ask, live, named, traffic
from tests.support import wait_until


def test_candidates_that_crash_again_and_again_do_not_disturb_the_live_one(world: World) -> None:
    """Invariants 1 and 3: no request is lost, the socket and the live instance stay."""
    first = live(world, world.release("r1"))
    inode = world.inode()
    world.release("bad", "crashes")
    with traffic(world.address) as answers:
        for _ in range(8):
            assert Switchover(world.manager, "bad", 10).run() is Outcome.NOT_READY
    assert set(answers) == {f"r1 {first.pid}"}
    assert world.inode() == inode
    assert world.manager.instances() == [first]


def test_switchovers_under_traffic_lose_nothing(world: World) -> None:
    """Invariants 1 and 6: five releases after another, each request is answered by one that was proven."""
    live(world, world.release("r0"))
    inode = world.inode()
    with traffic(world.address) as answers:
        for number in range(1, 6):
            assert Switchover(world.manager, world.release(f"r{number}"), 10).run() is Outcome.SWITCHED
            assert world.manager.current() == f"r{number}"
    wait_until(lambda: [one.release for one in world.manager.instances()] == ["r5"])
    assert {answer.split()[0] for answer in answers} >= {"r0", "r5"}
    assert world.inode() == inode
    assert Switchover(world.manager, "r5", 10).run() is Outcome.ALREADY_LIVE


def test_several_instances_may_retire_and_a_retiring_release_may_come_back(world: World) -> None:
    """Trap 8: a deploy, another deploy, and a rollback, all during the first one's drain."""
    # 1. r1 and r2 each have a request under way when they are replaced.
    live(world, world.release("r1"))
    held = [Later(world.address, "/hold")]
    assert ask(world.address).startswith("r1 ")
    assert Switchover(world.manager, world.release("r2"), 10).run() is Outcome.SWITCHED
    wait_until(lambda: ask(world.address).startswith("r2 "))
    held.append(Later(world.address, "/hold"))
    ask(world.address)
    assert Switchover(world.manager, world.release("r3"), 10).run() is Outcome.SWITCHED
    # 2. Back to r1, whose first instance still drains.
    assert Switchover(world.manager, "r1", 10).run() is Outcome.SWITCHED
    roles = [(one.release, one.role) for one in world.manager.instances() if one.release != "r3"]
    assert roles == [("r1", Role.RETIRING), ("r2", Role.RETIRING), ("r1", Role.LIVE)]
    wait_until(lambda: ask(world.address).startswith("r1 "))
    # 3. Both drains end, each with its own answer.
    (world.shared / "go").touch()
    assert [one.result().split()[0] for one in held] == ["r1", "r2"]
    wait_until(lambda: [one.role for one in world.manager.instances()] == [Role.LIVE])


def test_a_deployer_killed_while_its_candidate_boots_leaves_no_candidate(world: World) -> None:
    """Invariants 3 and 5: instances go on, and what nobody waits for does not become ready later."""
    first = live(world, world.release("r1"))
    world.release("r2", "late")
    deployer = world.caller("manager.start('r2', 60)")
    candidate = wait_until(lambda: [one for one in world.manager.instances() if one.release == "r2"])[0]
    deployer.kill()
    wait_until(lambda: named(world, candidate) is None)
    assert named(world, first) == first
