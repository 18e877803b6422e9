"""Engines of several services asleep on one GPU: one of them awake at most, whatever happens."""

from dataclasses import replace

from fleet_world import World, a_service, an_offer, check_laws, scaled
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fleet_laws import CALM_S, Happening, happen, happenings

from fleetctl.decide.planner import plan
from fleetctl.decide.sleeping import SLEEPERS_MAX
from fleetctl.model.names import PoolName, ServiceName
from fleetctl.model.nodes import Call
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.services import Gpu, Pool, Service, Standby, Tier

EXAMPLES = 14
"""Histories per law; one takes half a second."""
BED = Pool(
    name=PoolName("bed"),
    gpu=(Gpu(name="L40S"),),
    standby=Standby(tier=Tier.ASLEEP, slots=1, share=True),
    max=4,
)
NAMES = ("ant", "bee", "cat")


def sleepy(name: str, **changes: object) -> Service:
    return scaled(a_service(name, pool=BED.name, standby=None, **changes), min=0, max=3)


def a_world(*services: Service, pool: Pool = BED, gpus: int = 1) -> World:
    world = World(*(services or [sleepy(name) for name in NAMES]), pools=[pool], offers=[an_offer(gpus=gpus)])
    world.checks.append(check_laws)
    for name in world.intents:
        world.override(name, 0)
    return world


def asleep(world: World) -> dict[str, Replica]:
    return {one.service: one for one in world.in_role(Role.ASLEEP, ReplicaPhase.ASLEEP)}


def test_engines_of_several_services_sleep_on_one_gpu() -> None:
    world = a_world()

    world.until(lambda: len(asleep(world)) == 3)
    world.settle()

    assert len(world.launched) == 1
    assert {one.gpus for one in asleep(world).values()} == {(0,)}


def test_each_is_loaded_only_once_the_one_before_it_sleeps() -> None:
    world = a_world()
    loading: list[set[str]] = []
    world.checks.append(
        lambda *_: loading.append(
            {r.id for r in world.replicas.values() if r.instance and r.phase is not ReplicaPhase.ASLEEP}
        )
    )

    world.until(lambda: len(asleep(world)) == 3)

    assert max(map(len, loading)) == 1


def test_who_is_wanted_wakes_and_the_others_sleep_on() -> None:
    world = a_world()
    world.until(lambda: len(asleep(world)) == 3)
    before = asleep(world)

    world.override("bee", 1)
    took_s = world.until(lambda: len(world.ready("bee")) == 1)

    assert took_s <= 8.0, "a wake, not a start"
    assert [one.id for one in world.ready("bee")] == [before["bee"].id]
    assert {name: asleep(world)[name].id for name in ("ant", "cat")} == {n: before[n].id for n in ("ant", "cat")}
    assert world.decision("ant").inputs is not None
    assert world.decision("ant").inputs.standby == 0, "it cannot be woken where another is awake"  # type: ignore[union-attr]


def test_who_is_wanted_behind_another_starts_elsewhere() -> None:
    world = a_world()
    world.until(lambda: len(asleep(world)) == 3)
    world.override("bee", 1)
    world.until(lambda: len(world.ready("bee")) == 1)

    world.override("ant", 1)
    world.until(lambda: len(world.ready("ant")) == 1)

    assert world.ready("ant")[0].instance != world.ready("bee")[0].instance


def test_who_waits_for_a_slot_is_woken_where_it_sleeps_once_its_gpu_is_free() -> None:
    world = a_world(pool=replace(BED, max=1))
    world.until(lambda: len(asleep(world)) == 3)
    sleeper = asleep(world)["ant"].id
    world.override("bee", 1)
    world.until(lambda: len(world.ready("bee")) == 1)
    world.override("ant", 1)
    world.run(60.0)
    assert world.ready("ant") == []

    world.override("bee", 0)
    world.until(lambda: len(world.ready("ant")) == 1, limit_s=600.0)

    assert [one.id for one in world.ready("ant")] == [sleeper]
    assert world.ready("ant")[0].origin == "asleep"
    assert len(world.launched) == 1


def test_those_of_one_service_never_lie_on_one_gpu() -> None:
    world = a_world(sleepy("ant"), pool=replace(BED, standby=replace(BED.standby, slots=2)))

    world.until(lambda: len(world.in_role(Role.ASLEEP, ReplicaPhase.ASLEEP)) == 2)

    assert len({one.instance for one in world.in_role(Role.ASLEEP)}) == 2


def test_a_gpu_holds_so_many_and_no_more() -> None:
    names = [f"s{number:02}" for number in range(SLEEPERS_MAX + 1)]
    world = a_world(*(sleepy(name) for name in names))

    world.until(lambda: len(asleep(world)) == len(names), limit_s=900.0)

    beds: dict[object, int] = {}
    for one in asleep(world).values():
        beds[one.instance] = beds.get(one.instance, 0) + 1
    assert len(beds) == 2
    assert max(beds.values()) <= SLEEPERS_MAX


def test_without_share_each_sleeps_alone() -> None:
    world = a_world(pool=replace(BED, standby=replace(BED.standby, share=False)))

    world.until(lambda: len(asleep(world)) == 3)

    assert len({one.instance for one in asleep(world).values()}) == 3


def real(name: str) -> Service:
    """An 8B model: 16 GB of weights."""
    return sleepy(name, engine="vllm", model=f"hf://org/{name}-8B", gpu=(Gpu(name="L40S"),))


def level_of(world: World, replica: Replica) -> str:
    assert replica.instance is not None
    spec = world.machines[replica.instance].engines[replica.id].spec
    return spec.sleep[0].path.partition("?")[2]


def test_weights_that_the_hosts_memory_does_not_hold_are_dropped() -> None:
    world = a_world(*(real(name) for name in NAMES))
    world.node_facts = {"memory_bytes": int(45e9)}

    world.until(lambda: len(asleep(world)) == 3)
    world.run(20.0)

    assert {one.instance for one in asleep(world).values()} == {asleep(world)["ant"].instance}
    assert {level_of(world, one) for one in asleep(world).values()} == {"level=2"}, "36 GB are for weights, 48 sleep"


def test_weights_that_the_hosts_memory_holds_stay_there() -> None:
    world = a_world(*(real(name) for name in NAMES))
    world.node_facts = {"memory_bytes": int(64e9)}

    world.until(lambda: len(asleep(world)) == 3)

    assert {level_of(world, one) for one in asleep(world).values()} == {"level=1"}


def test_level_1_that_is_asked_for_goes_to_another_machine_where_memory_ends() -> None:
    kept = replace(BED, standby=replace(BED.standby, sleep_level=1))
    world = a_world(*(real(name) for name in NAMES), pool=kept)
    world.node_facts = {"memory_bytes": int(45e9)}

    world.until(lambda: len(asleep(world)) == 3)
    world.settle()

    machines = [one.instance for one in asleep(world).values()]
    assert sorted(machines.count(one) for one in set(machines)) == [1, 2]
    assert {level_of(world, one) for one in asleep(world).values()} == {"level=1"}


def test_a_sleeper_that_fits_no_memory_sleeps_alone_and_opens_no_machine_after_machine() -> None:
    kept = replace(BED, standby=replace(BED.standby, sleep_level=1))
    world = a_world(real("ant"), pool=kept)
    world.node_facts = {"memory_bytes": int(8e9)}

    world.until(lambda: len(asleep(world)) == 1)
    world.settle()

    assert len(world.launched) == 1


def test_level_2_is_woken_in_its_order() -> None:
    deep = Standby(tier=Tier.ASLEEP, slots=1, sleep_level=2)
    world = World(scaled(replace(real("ant"), pool=None, standby=deep), min=0, max=2))
    world.override("ant", 0)

    world.until(lambda: len(asleep(world)) == 1)

    one = asleep(world)["ant"]
    assert one.instance is not None
    spec = world.machines[one.instance].engines[one.id].spec
    assert [call.path for call in spec.wake] == [
        "/wake_up?tags=weights",
        "/collective_rpc",
        "/wake_up?tags=kv_cache",
        "/reset_prefix_cache",
        "/is_sleeping",
    ]
    assert spec.wake[1] == Call(path="/collective_rpc", body='{"method": "reload_weights"}')
    assert spec.sleepable


@settings(max_examples=EXAMPLES, deadline=None)
@given(story=happenings, gpus=st.sampled_from((1, 2)), slots=st.sampled_from((1, 2)))
def test_never_are_two_awake_on_one_gpu_and_the_fleet_comes_to_rest(
    story: list[Happening], gpus: int, slots: int
) -> None:
    pool = replace(BED, gpu=(Gpu(name="L40S", count=gpus),), standby=replace(BED.standby, slots=slots), max=16)
    world = a_world(pool=pool, gpus=gpus)  # what is applied to a node is checked there, and rows at each tick
    for name in world.intents:
        world.override(name, None)
    for one in story:
        happen(world, one)

    world.faults_stop()
    world.period_s = 5.0
    world.load(12, "ant")
    world.load(0, "bee")
    world.load(5, "cat")
    world.run(CALM_S)
    world.settle()
    last = world.tick()

    assert (last.actions, last.instances, last.replicas) == ((), (), ()), world.describe()
    assert plan(world.snapshot()).actions == ()
    for name, intent in world.intents.items():
        assert len(world.ready(name)) == world.desired(name), world.describe()
        if intent.up and name == ServiceName("cat") and intent.override is None and intent.service.scaling.max:
            assert len(world.ready(name)) >= 1, world.describe()
