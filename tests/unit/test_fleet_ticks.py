"""What a tick of a large fleet costs, in calls instead of seconds: those are the same on every machine."""

import cProfile
from dataclasses import replace

from fleet_world import World, a_service, an_offer, scaled

from fleetctl.decide import troubles
from fleetctl.decide.planner import plan
from fleetctl.model.names import PoolName
from fleetctl.model.services import Gpu, Pool

NODES = 60
GPUS = 4


def calls_of(world: World) -> int:
    profile = cProfile.Profile()
    profile.runcall(plan, world.snapshot())
    return sum(entry.callcount for entry in profile.getstats())


def calls_with(waiting: int) -> int:
    """Calls that one tick takes when so many Replicas wait for machines that boot, beside a full fleet."""
    there = NODES * GPUS
    service = scaled(a_service(), min=there, max=2 * there)
    pool = Pool(name=service.pool_name, gpu=(Gpu(name="L40S", count=GPUS),), max=2 * NODES)
    service = replace(service, pool=pool.name)
    world = World(service, pools=[pool], offers=[an_offer(gpus=GPUS)])
    world.run(60.0)
    assert len(world.ready()) == there
    world.up(scaled(service, min=there + waiting))
    world.run(6.0)
    assert sum(1 for one in world.serving() if one.instance is None) == waiting
    return calls_of(world)


def test_who_waits_for_a_machine_is_not_tried_on_every_full_node_again() -> None:
    few, many = calls_with(GPUS), calls_with(10 * GPUS)

    assert (many - few) / (9 * GPUS) < 6 * NODES, f"{few} calls with {GPUS} that wait, {many} with {10 * GPUS}"


def calls_in_rollouts(services: int) -> int:
    """Calls that one tick takes while so many Services roll out at once."""
    every = [scaled(a_service(f"s{place}"), min=2, max=2) for place in range(services)]
    world = World(*every)
    world.run(60.0)
    for service in every:
        world.up(service, revision="r2")
    world.run(6.0)
    assert {row.from_revision for row in world.rollouts.values()} == {"r1"}
    return calls_of(world)


def test_many_rollouts_at_once_take_as_much_each_as_a_few() -> None:
    few, many = calls_in_rollouts(20), calls_in_rollouts(100)

    assert many / 100 < 1.1 * few / 20, f"{few} calls for 20 services, {many} for 100"


def test_what_is_wrong_on_nodes_is_looked_for_once_and_not_for_each_service_of_their_pool() -> None:
    services = [replace(scaled(a_service(f"s{place}"), min=1, max=1), pool=PoolName("all")) for place in range(40)]
    world = World(*services, pools=[Pool(name=PoolName("all"), gpu=services[0].gpu, max=50)])
    world.run(60.0)
    assert len(world.serving_all()) == len(world.held()) == 40
    profile = cProfile.Profile()
    profile.runcall(plan, world.snapshot())

    calls = sum(
        entry.callcount
        for entry in profile.getstats()
        if not isinstance(entry.code, str) and entry.code.co_filename == troubles.__file__
    )

    assert 40 <= calls < 10 * 40
