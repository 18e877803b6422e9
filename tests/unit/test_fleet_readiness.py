"""Capacity that is there before it is needed, in a whole fleet: Standby that sizes itself, and Schedules in time."""

from dataclasses import replace

import pytest
from fleet_world import START, World, a_service, scaled

from fleetctl.decide.standing import own_pool
from fleetctl.model.instances import Wanted
from fleetctl.model.names import PoolName
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.model.services import ColdStart, Pool, Schedule, Service, Standby, Tier

HALF_PAST = START + 1000.0
"""2023-11-14 22:30:00 UTC: the world begins at 22:13:20."""
COLD_S = 40.0
"""In this world: 20 s of boot, 10 s of artifacts, 6 s of engine, and the ticks between."""


def self_sized(tier: Tier = Tier.WARM, **changes: object) -> Service:
    """A Service that goes by concurrency at once, with Standby left to fleetctl."""
    service = scaled(a_service(), min=1, max=8, window_s=4.0, panic_window_s=2.0, scale_down_delay_s=0.0, tolerance=0.0)
    cold_start = ColdStart(cold_s=COLD_S, standby_s=8.0)
    return replace(service, standby=Standby(auto=True, tier=tier), cold_start=cold_start, **changes)  # type: ignore[arg-type]


def restless(world: World, rounds: int) -> None:
    """Three replicas' worth of requests for twenty seconds of each minute."""
    for _ in range(rounds):
        world.load(30)
        world.run(20)
        world.load(3)
        world.run(40)


def standing_by(world: World) -> int:
    """Instances beyond what serves or drains."""
    held = [instance for instance in world.held() if instance.wanted is not Wanted.TERMINATED]
    return len(held) - len([one for one in world.replicas.values() if one.role in (Role.SERVING, Role.DRAINING)])


@pytest.mark.parametrize(("tier", "slots"), [(Tier.WARM, 4), (Tier.STOPPED, 6)])
def test_one_step_stands_by_until_moves_have_taught_more(tier: Tier, slots: int) -> None:
    """Two replicas are asked for each minute, and a start takes most of one; machines that are off cost little."""
    world = World(self_sized(tier))
    world.load(3)
    world.run(120)
    at_first = (world.decision().standby, standing_by(world))

    restless(world, 12)
    world.run(60)

    assert at_first == (None, 1)
    assert world.decision().standby == slots
    assert standing_by(world) == slots
    assert own_pool(self_sized(tier)).max >= world.intents[world.decision().service].service.scaling.max + 1


def test_hot_standby_follows_the_decision_as_well() -> None:
    world = World(self_sized(Tier.HOT))
    world.load(3)
    world.run(120)
    assert len(world.in_role(Role.HOT, ReplicaPhase.READY)) == 1

    restless(world, 12)
    world.run(60)

    assert len(world.in_role(Role.HOT, ReplicaPhase.READY)) == world.decision().standby == 4


def test_what_stands_by_never_goes_beyond_max() -> None:
    world = World(scaled(self_sized(), max=3))
    world.load(3)
    world.run(60)

    restless(world, 12)
    world.load(30)
    world.until(lambda: len(world.ready()) == 3)
    world.run(20)

    assert world.decision().standby == 0
    assert (len(world.serving()), standing_by(world)) == (3, 0)


def test_a_service_takes_over_what_its_pool_says() -> None:
    pool = Pool(name=PoolName("gpus"), gpu=a_service().gpu, standby=Standby(auto=True))
    world = World(self_sized(pool=PoolName("gpus")), pools=[pool])
    world.up(replace(self_sized(pool=PoolName("gpus")), standby=None))
    world.load(3)

    world.run(60)
    restless(world, 12)
    world.run(60)

    assert world.decision().standby == 4
    assert standing_by(world) == 4


def test_a_restart_forgets_neither_the_moves_nor_what_is_being_brought() -> None:
    steady = World(self_sized())
    shaken = World(self_sized())
    for world in (steady, shaken):
        world.load(3)
        world.run(60)
        restless(world, 6)
        if world is shaken:
            world.restart_controller(calls_arrived=True)
        restless(world, 6)

    assert shaken.decision().standby == steady.decision().standby == 4


# before the hour


def evening(**counts: int) -> Service:
    service = scaled(a_service(), min=0, max=8, idle_s=0.0, scale_down_delay_s=0.0)
    schedule = (Schedule(cron="30 22 * * *", duration_s=600.0, **counts),)
    return replace(service, schedule=schedule, cold_start=ColdStart(cold_s=COLD_S))


@pytest.mark.parametrize("counts", [{"min": 4}, {"replicas": 4}])
def test_all_are_ready_at_the_hour_and_gone_after_it_not_before(counts: dict[str, int]) -> None:
    world = World(evening(**counts))
    world.run(HALF_PAST - START - COLD_S - 10.0)
    before = len(world.held())

    world.run(COLD_S + 10.0)

    assert before == 0, "nothing long before"
    assert world.now == HALF_PAST
    assert len(world.ready()) == 4
    assert world.said("brings 4 by 22:30, a start takes 40 s")
    world.run(596)
    assert len(world.ready()) == 4, "nothing ends early"
    world.run(60)
    assert not world.serving()


def test_standby_that_holds_all_of_them_is_not_woken_early() -> None:
    hot = replace(evening(min=2), standby=Standby(slots=2, tier=Tier.HOT))
    world = World(replace(hot, cold_start=ColdStart(cold_s=COLD_S, standby_s=4.0)))
    world.run(HALF_PAST - START - 8.0)
    before = len(world.serving())

    world.run(8)
    world.tick()

    assert before == 0
    assert len(world.ready()) == 2


def test_one_order_for_the_hour_and_no_second_one() -> None:
    """Neither a refilled Standby nor a better known start makes it give up what it ordered, and order it again."""
    world = World(replace(evening(min=3), standby=Standby(slots=1)))
    world.run(HALF_PAST - START + 60.0)

    moves = [event for event in world.events if event.kind == "scale"]
    assert [event.message.partition(":")[0] for event in moves] == ["0 → 3"]
