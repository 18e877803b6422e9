"""What users ask of single pools, instances and replicas: closed, moved off, replaced, and never too few."""

from dataclasses import replace

import pytest
from fleet_world import NO_STANDBY, World, a_service, an_offer, check_laws, scaled
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.decide.planner import plan
from fleetctl.model.decisions import Verb
from fleetctl.model.instances import InstancePhase, Wanted
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.orders import Wish
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.services import Gpu, Pool, Service, Standby, Tier


def a_world(*services: Service, **settings: object) -> World:
    world = World(*services, **settings)  # type: ignore[arg-type]
    world.checks.append(check_laws)
    return world


def held_at(count: int, **changes: object) -> Service:
    """A Service whose count no load moves."""
    return scaled(a_service(), **{"min": count, "max": count + 2, "policy": "fixed", "replicas": count, **changes})


def fewest_ready(world: World, seconds: float) -> int:
    """The fewest Replicas that were ready, and had not been told to drain, at any tick meanwhile."""
    fewest = len(world.ready())
    for _ in range(int(seconds / world.period_s)):
        world.tick()
        fewest = min(fewest, len(world.ready()))
    return fewest


def a_pool(name: str, **changes: object) -> Pool:
    made = Pool(name=PoolName(name), gpu=(Gpu(name="L40S"),), standby=NO_STANDBY, max=8)
    return replace(made, **changes)  # type: ignore[arg-type]


# replicas


def test_a_drained_replica_is_replaced_before_it_is_stopped() -> None:
    world = a_world(held_at(2))
    world.settle()
    going = world.ready()[0]

    world.order(f"replica/{going.id}", Wish.DRAIN)
    fewest = fewest_ready(world, 120.0)

    assert fewest == 2
    assert going.id not in world.replicas
    assert len(world.ready()) == 2
    assert world.said("to go, by hand")


def test_at_its_max_a_replica_goes_first_and_min_stays_ready() -> None:
    world = a_world(held_at(3, min=2, max=3))
    world.settle()
    going = world.ready()[0]

    world.order(f"replica/{going.id}", Wish.DRAIN)
    fewest = fewest_ready(world, 120.0)

    assert fewest == 2
    assert going.id not in world.replicas
    assert len(world.ready()) == 3


def test_where_max_and_min_leave_no_room_a_replica_stays() -> None:
    world = a_world(held_at(2, min=2, max=2))
    world.settle()
    going = world.ready()[0]

    world.order(f"replica/{going.id}", Wish.DRAIN)
    fewest = fewest_ready(world, 60.0)

    assert fewest == 2
    assert world.replicas[going.id].role is Role.SERVING


def test_one_that_stops_at_once_is_replaced() -> None:
    world = a_world(held_at(2, min=2, max=2))
    world.settle()
    going = world.ready()[0]

    world.order(f"replica/{going.id}", Wish.STOP)
    made = world.tick()

    assert going.id in made.removed_replicas
    world.until(lambda: len(world.ready()) == 2)
    assert world.said("stopped by hand, without a drain")


def test_a_replica_that_is_stuck_is_replaced_at_once() -> None:
    world = a_world(held_at(1))
    world.hanging.add((world.intents[next(iter(world.intents))].service.name, "r1"))
    world.until(lambda: bool(world.in_role(Role.SERVING, ReplicaPhase.LOADING)))
    (stuck,) = world.serving()

    world.order(f"replica/{stuck.id}", Wish.DRAIN)
    made = world.tick()

    assert stuck.id in made.removed_replicas
    (other,) = world.serving()
    assert other.id != stuck.id


def test_all_replicas_at_once_move_a_step_at_a_time() -> None:
    world = a_world(held_at(3, max=4))
    world.settle()
    before = {one.id for one in world.ready()}

    for name in before:
        world.order(f"replica/{name}", Wish.DRAIN)
    most = 0
    for _ in range(200):
        world.tick()
        most = max(most, len(world.serving()))
        assert len(world.ready()) >= 3

    assert most == 4
    assert not before & set(world.replicas)
    world.settle()


def test_fewer_wanted_takes_those_that_are_to_go() -> None:
    world = a_world(held_at(3, max=3, min=1))
    world.settle()
    going = world.ready()[-1]
    world.order("pool/chat", Wish.CORDON)
    world.order(f"replica/{going.id}", Wish.DRAIN)
    world.run(10.0)
    assert world.replicas[going.id].role is Role.SERVING

    world.override("chat", 2)
    world.run(60.0)

    assert going.id not in world.replicas
    assert len(world.ready()) == 2


def test_standby_that_is_to_go_is_made_anew() -> None:
    service = replace(held_at(1), standby=Standby(tier=Tier.HOT, slots=1))
    world = a_world(service)
    world.until(lambda: bool(world.in_role(Role.HOT, ReplicaPhase.READY)))
    (idle,) = world.in_role(Role.HOT)

    world.order(f"replica/{idle.id}", Wish.DRAIN)
    world.until(lambda: bool(world.in_role(Role.HOT, ReplicaPhase.READY)) and idle.id not in world.replicas)

    assert len(world.ready()) == 1


# pools and instances


def launches(world: World, seconds: float) -> int:
    found = 0
    for _ in range(int(seconds / world.period_s)):
        made = world.tick()
        found += sum(action.verb in (Verb.LAUNCH, Verb.START) for action in made.actions)
    return found


@pytest.mark.parametrize("wish", [Wish.CORDON, Wish.DRAIN])
def test_a_closed_pool_gets_no_launch(wish: Wish) -> None:
    world = a_world(held_at(1, max=4))
    world.settle()

    world.order("pool/chat", wish)
    world.override("chat", 3)

    assert launches(world, 60.0) == 0
    assert len(world.ready()) == 1
    decision = world.decision()
    assert decision.binding == "pool"
    assert "fleetctl pool uncordon chat" in decision.reason

    del world.orders["pool/chat"]
    world.until(lambda: len(world.ready()) == 3)


def test_an_intended_instance_of_a_pool_that_is_closed_is_not_launched_either() -> None:
    world = a_world(held_at(1))
    snapshot = world.snapshot()
    made = plan(snapshot)
    (instance,) = made.instances
    assert instance.phase is InstancePhase.INTENDED
    world.instances = {instance.id: instance}

    world.order("pool/chat", Wish.CORDON)

    assert launches(world, 20.0) == 0


def test_replicas_move_off_a_drained_pool_and_its_instances_are_given_back() -> None:
    old, new = a_pool("old"), a_pool("new")
    service = replace(held_at(2), pool=PoolName("old"))
    world = a_world(service, pools=(old, new))
    world.settle()
    world.up(replace(service, pool=PoolName("new")))

    world.order("pool/old", Wish.DRAIN)
    fewest = fewest_ready(world, 240.0)

    assert fewest == 2
    assert {world.instances[_on(one)].pool for one in world.ready()} == {"new"}
    assert not [one for one in world.held() if one.pool == "old"]


def test_replicas_stay_in_a_drained_pool_that_is_their_only_one() -> None:
    world = a_world(held_at(2))
    world.settle()

    world.order("pool/chat", Wish.DRAIN)
    fewest = fewest_ready(world, 60.0)

    assert fewest == 2
    assert not world.in_role(Role.DRAINING)


def test_a_cordoned_pool_keeps_what_it_has() -> None:
    world = a_world(held_at(1), pools=())
    world.settle()
    before = {one.id for one in world.held()}

    world.order("pool/chat", Wish.CORDON)
    world.run(60.0)

    assert {one.id for one in world.held()} == before
    assert all(one.wanted is Wanted.RUNNING for one in world.held())


def test_a_cordoned_pool_is_given_back_with_the_last_of_its_services() -> None:
    world = a_world(held_at(1), pools=())
    world.settle()

    world.order("pool/chat", Wish.CORDON)
    world.down("chat")
    world.run(120.0)

    assert not world.held()


def test_an_instance_is_emptied_and_given_back_while_another_takes_over() -> None:
    world = a_world(held_at(2))
    world.settle()
    bad = _on(world.ready()[0])

    world.order(f"instance/{bad}", Wish.DRAIN)
    fewest = fewest_ready(world, 240.0)

    assert fewest == 2
    assert bad not in {one.id for one in world.held()}
    assert bad not in {_on(one) for one in world.ready()}
    world.settle()


def test_nothing_is_placed_on_a_cordoned_instance() -> None:
    pool = a_pool("gpus", gpu=(Gpu(name="L40S", count=2),))
    service = replace(held_at(1), pool=pool.name)
    world = a_world(service, pools=(pool,), offers=(an_offer(gpus=2),))
    world.settle()
    (there,) = world.held()

    world.order(f"instance/{there.id}", Wish.CORDON)
    world.override("chat", 2)
    world.until(lambda: len(world.ready()) == 2)

    assert len({_on(one) for one in world.ready()}) == 2
    assert there.id in {one.id for one in world.held()}


# laws

STEPS = st.lists(st.tuples(st.sampled_from(["replica", "instance", "pool", "open"]), st.integers(0, 9)), max_size=8)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, least=st.integers(1, 3), spare=st.integers(0, 2))
def test_whatever_is_drained_min_stays_ready_and_it_comes_to_rest(
    steps: list[tuple[str, int]], least: int, spare: int
) -> None:
    world = a_world(held_at(least, max=least + spare))
    world.settle()

    for kind, index in steps:
        if kind == "open":
            world.orders.clear()
        elif kind == "pool":
            world.order("pool/chat", Wish.DRAIN if index % 2 else Wish.CORDON)
        elif kind == "replica":
            world.order(f"replica/{world.ready()[index % least].id}", Wish.DRAIN)
        else:
            held = world.held()
            world.order(f"instance/{held[index % len(held)].id}", Wish.DRAIN if index % 2 else Wish.CORDON)
        assert fewest_ready(world, 24.0) >= least
    world.orders.clear()
    world.settle()

    assert len(world.ready()) == least


def _on(replica: Replica) -> InstanceId:
    assert replica.instance is not None
    return replica.instance
