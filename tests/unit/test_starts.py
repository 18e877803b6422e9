"""Every start is told once, whole, by the controller's clock, whatever the Nodes' clocks say."""

from dataclasses import replace

import pytest
from fleet_world import World, a_service, an_offer, scaled

from fleetctl.decide.starts import clock_lead_s
from fleetctl.model.decisions import Plan
from fleetctl.model.names import InstanceId, PoolName, ReplicaId, ServiceName
from fleetctl.model.nodes import NodeStatus
from fleetctl.model.replicas import ReplicaPhase, Role, Stage
from fleetctl.model.services import Pool, Standby, Tier
from fleetctl.model.snapshots import Snapshot
from fleetctl.model.starts import Start, attributed


def told(world: World) -> list[Start]:
    """Starts that the world's Plans tell of, from now on."""
    found: list[Start] = []

    def look(_: Snapshot, made: Plan, __: World) -> None:
        found.extend(made.starts)

    world.checks.append(look)
    return found


def lengths(start: Start) -> dict[str, float]:
    """Seconds by stage; their beginnings are round to a millionth, as a clock that is hours ahead makes them."""
    found: dict[str, float] = {}
    for stage in start.stages:
        assert stage.ended_at is not None
        found[stage.name] = round(found.get(stage.name, 0.0) + stage.ended_at - stage.started_at, 3)
    return found


def one_cold(*, engine_s: float = 6.0) -> tuple[World, list[Start]]:
    world = World(scaled(a_service(), min=1), period_s=1.0, engine_s=engine_s)
    starts = told(world)
    return world, starts


@pytest.mark.parametrize("clock_s", [0.0, 7200.0, -7200.0])
def test_a_cold_start_is_told_whole_by_our_clock(clock_s: float) -> None:
    world, starts = one_cold(engine_s=6.4)
    world.clock_s = clock_s

    world.settle()

    (start,) = starts
    (replica,) = world.serving()
    assert (start.replica, start.origin, start.outcome) == (replica.id, "cold", "ready")
    assert (start.decided_at, start.ended_at) == (replica.created_at, replica.ready_at)
    assert lengths(start) == {"launch": 1.0, "boot": 20.0, "weights": 10.0, "engine": 6.4, "settle": 0.6}
    assert attributed(start) == pytest.approx(1.0)
    assert start.machine == "l40sx1"


def test_the_installation_of_the_agent_is_told_apart_from_the_boot() -> None:
    world, starts = one_cold()
    world.clock_s = 3600.0
    began = world.now + 12.0 + world.clock_s
    world.node_facts = {"stages": (Stage(name="install", started_at=began, ended_at=began + 7.0),)}

    world.settle()

    assert (lengths(starts[0])["install"], lengths(starts[0])["boot"]) == (7.0, 13.0)
    assert [stage.name for stage in starts[0].stages][:4] == ["launch", "boot", "install", "boot"]
    assert attributed(starts[0]) == pytest.approx(1.0)


def test_a_node_that_is_slow_to_take_the_order_is_a_stage_of_its_own() -> None:
    world, starts = one_cold()
    world.until(lambda: any(one.instance is not None for one in world.serving()))
    world.silent = set(world.instances)
    world.run(5.0)
    world.silent = set()

    world.settle()

    assert lengths(starts[0])["apply"] == pytest.approx(5.0, abs=1.5)
    assert attributed(starts[0]) == pytest.approx(1.0)


def test_from_warm_standby_there_is_no_machine_to_wait_for() -> None:
    service = replace(scaled(a_service(), min=1), standby=Standby(tier=Tier.WARM, slots=1))
    world = World(service, period_s=1.0, engine_s=6.4)
    world.settle()
    world.run(30.0)
    starts = told(world)

    world.load(15)
    world.until(lambda: len(world.ready()) == 2)
    world.run(3.0)

    (start,) = starts
    assert (start.origin, start.role) == ("warm", Role.SERVING)
    assert lengths(start) == {"engine": 6.4, "settle": 0.6}
    assert attributed(start) == pytest.approx(1.0)


def test_from_sleep_it_is_told_twice_once_to_sleep_and_once_to_wake() -> None:
    service = replace(scaled(a_service(), min=1), standby=Standby(tier=Tier.ASLEEP, slots=1), engine="vllm")
    world = World(service, period_s=0.5, wake_s=2.0)
    starts = told(world)
    world.settle()
    before = [(one.role, one.origin, one.outcome) for one in starts]
    starts.clear()

    world.load(15)
    world.until(lambda: len(world.ready()) == 2)
    world.run(3.0)

    assert sorted(before) == [(Role.ASLEEP, "cold", "ready"), (Role.SERVING, "cold", "ready")]
    woken = [one for one in starts if one.role is Role.SERVING]
    assert [one.origin for one in woken] == ["asleep"]
    assert lengths(woken[0])["wake"] == 2.0
    assert set(lengths(woken[0])) <= {"apply", "wake", "settle"}
    assert attributed(woken[0]) == pytest.approx(1.0)


def test_from_hot_it_takes_no_time_and_is_told() -> None:
    service = replace(scaled(a_service(), min=1), standby=Standby(tier=Tier.HOT, slots=1))
    world = World(service, period_s=1.0)
    world.settle()
    starts = told(world)

    world.load(15)
    world.until(lambda: len(world.ready()) == 2)

    assert [(one.origin, one.took_s, one.stages) for one in starts if one.role is Role.SERVING] == [("hot", 0.0, ())]
    assert attributed(starts[0]) == 1.0


def test_from_a_stopped_machine_its_start_and_boot_are_stages() -> None:
    service = replace(scaled(a_service(), min=1), standby=Standby(tier=Tier.STOPPED, slots=1))
    world = World(service, period_s=1.0)
    world.settle()
    world.run(60.0)
    starts = told(world)

    world.load(15)
    world.until(lambda: len(world.ready()) == 2)
    world.run(3.0)

    (start,) = [one for one in starts if one.origin == "stopped"]
    assert lengths(start)["launch"] == 1.0
    assert lengths(start)["boot"] == pytest.approx(10.0, abs=1.0)
    assert attributed(start) == pytest.approx(1.0)


def test_a_wait_for_room_is_the_slot_and_not_the_boot() -> None:
    offer = an_offer()
    pool = Pool(name=PoolName("box"), gpu=(offer.gpu,), max=1, standby=Standby(slots=0))
    first, late = (replace(scaled(a_service(name), min=1), pool=pool.name) for name in ("first", "late"))
    world = World(first, pools=(pool,), period_s=1.0)
    world.settle()
    starts = told(world)
    world.up(late)
    world.run(50.0)

    world.down("first")
    world.until(lambda: bool(starts))

    (start,) = starts
    assert start.service == "late"
    assert lengths(start)["slot"] > 50.0
    assert not {"launch", "boot"} & set(lengths(start))
    assert attributed(start) == pytest.approx(1.0)


def test_an_engine_that_fails_is_told_with_its_reason() -> None:
    world = World(scaled(a_service(), min=1), period_s=1.0)
    world.broken.add((ServiceName("chat"), "r1"))
    starts = told(world)

    world.until(lambda: bool(starts))

    (start,) = starts
    assert (start.outcome, start.reason) == ("failed", "exit code 1")
    assert {"launch", "boot", "weights", "engine"} <= set(lengths(start))


def test_a_start_that_ends_with_its_machine_is_told() -> None:
    world, starts = one_cold()
    world.until(lambda: any(one.phase is ReplicaPhase.PREPARING for one in world.serving()))

    world.kill_machine(next(iter(world.machines)))
    world.until(lambda: bool(starts))

    assert (starts[0].outcome, starts[0].reason[:19]) == ("failed", "lost with instance ")


def test_an_engine_that_dies_after_it_was_ready_is_no_failed_start() -> None:
    world, starts = one_cold()
    world.settle()

    world.kill_engine(world.serving()[0].id)
    world.settle()

    assert [one.outcome for one in starts] == ["ready", "ready"]


def test_who_was_found_running_is_no_start_of_ours() -> None:
    world, _ = one_cold()
    world.until(lambda: any(one.phase is ReplicaPhase.LOADING for one in world.serving()))
    world.lose_store()
    starts = told(world)

    world.settle()

    assert world.said("adopted")
    assert starts == []


@pytest.mark.parametrize(
    ("known", "at", "heard", "lead"),
    [
        pytest.param(None, 100.0, 160.0, 60.0, id="first answer"),
        pytest.param(60.0, 100.0, 160.4, 60.0, id="a slow answer says less"),
        pytest.param(60.0, 100.0, 159.5, 59.5, id="a quicker answer says more"),
        pytest.param(60.0, 100.0, 159.99, 60.0, id="no news, no changed row"),
        pytest.param(60.0, 100.0, 200.0, 100.0, id="the Node's clock was set back"),
        pytest.param(60.0, 100.0, None, 400.0, id="nobody noted when it came: now"),
    ],
)
def test_clocks_are_told_apart(known: float | None, at: float, heard: float | None, lead: float) -> None:
    status = NodeStatus(instance=InstanceId("i"), version="0", at=at, generation="", epoch="", fence=0, heard_at=heard)

    assert clock_lead_s(known, status, 500.0) == pytest.approx(lead)


def _start(*stages: tuple[float, float | None], until: float = 10.0) -> Start:
    return Start(
        service=ServiceName("chat"),
        revision="r1",
        replica=ReplicaId("chat-1"),
        decided_at=0.0,
        ended_at=until,
        stages=tuple(Stage(name="x", started_at=begun, ended_at=ended) for begun, ended in stages),
    )


@pytest.mark.parametrize(
    ("start", "share"),
    [
        (_start(), 0.0),
        (_start((0.0, 5.0)), 0.5),
        (_start((0.0, 5.0), (5.0, 10.0)), 1.0),
        (_start((0.0, 6.0), (2.0, 4.0)), 0.6),
        (_start((0.0, 6.0), (4.0, 8.0)), 0.8),
        (_start((-5.0, 2.0), (9.0, 50.0)), 0.3),
        (_start((4.0, None)), 0.6),
        (_start((20.0, 30.0)), 0.0),
        (_start(until=0.0), 1.0),
    ],
)
def test_the_attributed_share_is_the_union_of_the_stages(start: Start, share: float) -> None:
    assert attributed(start) == pytest.approx(share)


def test_a_start_does_not_know_how_its_stages_are_ordered() -> None:
    start = _start((5.0, 9.0), (0.0, 5.0))

    assert attributed(replace(start, stages=start.stages[::-1])) == attributed(start) == pytest.approx(0.9)
