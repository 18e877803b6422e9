"""Laws of the core over worlds to which anything may happen."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fleet_world import CLOUD, NO_STANDBY, OTHER_CLOUD, World, a_service, an_offer, check_laws, scaled
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.decide.planner import plan
from fleetctl.decide.scaling import decide
from fleetctl.model.decisions import Inputs, Memory, Plan
from fleetctl.model.names import PoolName, ServiceName
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.model.services import Behavior, Gpu, Pool, RatePolicy, Service, Standby, Tier
from fleetctl.model.signals import Load
from fleetctl.model.snapshots import Intent, Snapshot

EXAMPLES = 40
"""Histories per law."""
CALM_S = 1500.0
"""Faults and their pauses (at most 600 s between tries of a broken engine) are over by then."""

SHARED = Pool(name=PoolName("shared"), gpu=(Gpu(name="L40S", count=2),), standby=Standby(slots=1), max=4)


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happens to a world, then some time."""

    what: str
    pick: int
    wait_s: float


WHATS = (
    "load",
    "load",
    "load",
    "kill engine",
    "kill machine",
    "spot notice",
    "maintenance announced",
    "rebalance hint",
    "notice withdrawn",
    "provider unreachable",
    "provider back",
    "launches refused",
    "launches work",
    "answers lost",
    "listings late",
    "nodes silent",
    "nodes answer",
    "engines broken",
    "engines mended",
    "engines unreadable",
    "engines readable",
    "gateway down",
    "gateway back",
    "controller restarts",
    "store lost",
    "new revision",
    "set by hand",
    "given back to policy",
    "down",
    "up",
    "max changed",
)

happenings = st.lists(
    st.builds(
        Happening,
        what=st.sampled_from(WHATS),
        pick=st.integers(0, 7),
        wait_s=st.sampled_from((0.0, 2.0, 6.0, 20.0, 60.0)),
    ),
    max_size=14,
)


def services(tier: Tier) -> list[Service]:
    return [
        scaled(a_service("chat", standby=Standby(tier=tier, slots=1)), min=1, max=4),
        scaled(a_service("code", pool=SHARED.name, standby=None), max=3),
        scaled(a_service("draw", pool=SHARED.name, standby=NO_STANDBY), max=4, step=2),
    ]


def a_world(tier: Tier, *, gateway: bool) -> World:
    world = World(
        *services(tier),
        pools=[SHARED],
        offers=[
            an_offer(CLOUD),
            an_offer(OTHER_CLOUD, price=2.0),
            an_offer(CLOUD, gpus=2),
            an_offer(OTHER_CLOUD, gpus=2, price=3.0),
        ],
        gateway=gateway,
        consistency_s=10.0,
    )
    world.checks.append(check_laws)
    return world


def happen(world: World, one: Happening) -> None:
    names = sorted(world.intents)
    name = names[one.pick % len(names)]
    intent = world.intents[name]
    replicas = sorted(world.replicas)
    alive = sorted(key for key, machine in world.machines.items() if not machine.gone)
    match one.what:
        case "load":
            world.load(one.pick * 7, name)
        case "kill engine" if replicas:
            world.kill_engine(replicas[one.pick % len(replicas)])
        case "kill machine" if alive:
            world.kill_machine(alive[one.pick % len(alive)])
        case "spot notice" if alive:
            world.notice(alive[one.pick % len(alive)], (0.0, 30.0, 120.0)[one.pick % 3])
        case "maintenance announced" if alive:
            world.notice(alive[one.pick % len(alive)], (900.0, 1830.0, 86400.0)[one.pick % 3], "maintenance")
        case "rebalance hint" if alive:
            world.notice(alive[one.pick % len(alive)], 0.0, "rebalance")
        case "notice withdrawn" if alive:
            world.machines[alive[one.pick % len(alive)]].notice = None
        case "provider unreachable":
            world.unreachable.add((CLOUD, OTHER_CLOUD)[one.pick % 2])
        case "provider back":
            world.unreachable.clear()
        case "launches refused":
            code = (("capacity", True), ("quota", False), ("throttled", True))[one.pick % 3]
            world.refusals[(CLOUD, OTHER_CLOUD)[one.pick % 2]] = code
        case "launches work":
            world.refusals.clear()
        case "answers lost":
            world.lost_answers += 2
        case "listings late":
            world.listing_lag_s = 8.0
        case "nodes silent":
            world.silent.update(alive[one.pick % 3 :: 2])
        case "nodes answer":
            world.silent.clear()
        case "engines broken":
            world.broken.add((name, intent.revision))
        case "engines mended":
            world.broken.clear()
        case "engines unreadable":
            world.unreadable = True
        case "engines readable":
            world.unreadable = False
        case "gateway down":
            world.gateway_down = True
        case "gateway back":
            world.gateway_down = False
        case "controller restarts":
            world.restart_controller(calls_arrived=one.pick % 2 == 0)
        case "store lost":
            world.lose_store()
        case "new revision":
            world.up(intent.service, revision=f"r{one.pick}")
        case "set by hand":
            world.override(name, one.pick % 4, None if one.pick % 2 else world.now + 60.0)
        case "given back to policy":
            world.override(name, None)
        case "down":
            world.down(name)
        case "up":
            world.up(intent.service, revision=intent.revision)
        case "max changed":
            world.up(scaled(intent.service, max=1 + one.pick % 5), revision=intent.revision)
        case _:
            pass
    world.run(one.wait_s)


@settings(max_examples=EXAMPLES, deadline=None)
@given(story=happenings, tier=st.sampled_from(Tier), gateway=st.booleans())
def test_whatever_happens_the_limits_hold_and_the_same_snapshot_gives_the_same_plan(
    story: list[Happening], tier: Tier, gateway: bool
) -> None:
    world = a_world(tier, gateway=gateway)

    def is_deterministic(snapshot: Snapshot, made: Plan, world: World) -> None:
        assert plan(snapshot) == made

    world.checks.append(is_deterministic)

    for one in story:
        happen(world, one)  # every tick is checked by the laws

    world.run(20.0)


@settings(max_examples=EXAMPLES, deadline=None)
@given(story=happenings, tier=st.sampled_from(Tier), gateway=st.booleans())
def test_once_faults_stop_the_fleet_becomes_what_is_wanted_and_rests(
    story: list[Happening], tier: Tier, gateway: bool
) -> None:
    world = a_world(tier, gateway=gateway)
    for one in story:
        happen(world, one)

    world.faults_stop()
    world.period_s = 5.0
    for name in world.intents:
        world.load(12, name)
    world.run(CALM_S)
    world.settle()
    last = world.tick()

    assert (last.actions, last.instances, last.replicas, last.events) == ((), (), (), ()), world.describe()
    alive = {key for key, machine in world.machines.items() if not machine.gone}
    assert alive == {instance.id for instance in world.held()}, "each machine has a row, each row a machine"
    for intent in world.intents.values():
        name = intent.service.name
        wanted = world.desired(name)
        assert len(world.ready(name)) == len(world.serving(name)) == wanted, world.describe()
        holds = intent.in_force(world.rollouts.get(name))
        assert {replica.revision for replica in world.serving(name)} <= {holds.revision}
        if not intent.up:
            assert wanted == 0
        elif intent.override is None and (gateway or wanted):
            scaling = intent.service.scaling
            assert min(2, scaling.max) <= wanted <= min(1 + scaling.step, scaling.max), world.describe()
    used = {replica.instance for replica in world.replicas.values()}
    spare = [instance for instance in world.held() if instance.id not in used]
    assert len(spare) <= 2, f"more than the standby of two pools is empty\n{world.describe()}"


@settings(max_examples=EXAMPLES, deadline=None)
@given(first=st.integers(0, 70), then=st.integers(0, 70), boot_s=st.sampled_from((4.0, 30.0, 120.0)))
def test_no_more_is_launched_than_the_load_and_the_standby_need(first: int, then: int, boot_s: float) -> None:
    world = World(scaled(a_service(standby=Standby(slots=1)), min=1, max=8), boot_s=boot_s)
    world.checks.append(check_laws)

    world.load(first)
    world.settle()
    world.load(max(first, then))
    world.settle()

    needed = max(1, -(-max(first, then) // 10))
    assert len(world.launched) <= min(needed, 8) + 1, world.describe()


loads = st.integers(0, 100).map(float)
histories = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9)), max_size=8).map(
    lambda entries: tuple(sorted({(1000.0 - ago): value for ago, value in entries}.items()))
)
behaviors = st.builds(
    Behavior,
    stabilization_s=st.sampled_from((0.0, 30.0)),
    policies=st.lists(
        st.builds(
            RatePolicy,
            kind=st.sampled_from(("replicas", "percent")),
            value=st.integers(1, 100),
            period_s=st.sampled_from((15.0, 60.0)),
        ),
        max_size=2,
    ).map(tuple),
    select=st.sampled_from(("max", "min", "disabled")),
)


@st.composite
def scalings(draw: Callable[..., object]) -> tuple[Intent, Inputs, Memory]:
    """Any Service at any moment of its life; its counts may even break its limits."""
    draw_int: Callable[..., int] = draw  # type: ignore[assignment]
    most = draw_int(st.integers(0, 12))
    current = draw_int(st.integers(0, 14))
    service = scaled(
        a_service(),
        max=most,
        min=draw_int(st.integers(0, most)),
        step=draw_int(st.integers(1, 3)),
        up=draw(behaviors),
        down=draw(behaviors),
        scale_down_delay_s=draw(st.sampled_from((0.0, 60.0))),
    )
    memory = Memory(
        load=tuple((at, float(value) * 10) for at, value in draw(histories)),  # type: ignore[attr-defined]
        wishes=draw(histories),  # type: ignore[arg-type]
        moves=draw(histories),  # type: ignore[arg-type]
        busy_at=900.0,
        failures=tuple(at for at, _ in draw(histories)),  # type: ignore[attr-defined]
    )
    intent = Intent(service=service, revision="r1", changed_at=500.0)
    return (
        intent,
        Inputs(at=1000.0, load=None, why_unknown="silent", current=current, ready=draw_int(st.integers(0, current))),
        memory,
    )


@settings(max_examples=300, deadline=None)
@given(moment=scalings())
def test_an_unknown_load_never_lowers_the_count_below_what_max_allows(
    moment: tuple[Intent, Inputs, Memory],
) -> None:
    intent, inputs, memory = moment

    decision, _ = decide(intent, inputs, memory)

    assert decision.desired >= min(inputs.current, intent.service.scaling.max)


@settings(max_examples=300, deadline=None)
@given(moment=scalings(), low=loads, more=loads, unknown=st.integers(0, 5))
def test_desired_is_within_its_bounds_and_a_wider_uncertainty_never_lowers_it(
    moment: tuple[Intent, Inputs, Memory], low: float, more: float, unknown: int
) -> None:
    intent, inputs, memory = moment
    scaling = intent.service.scaling

    def desired(load: Load) -> int:
        return decide(intent, replace(inputs, load=load), memory)[0].desired

    exact = Load(low=low, high=low, queued=0, oldest_wait_s=0.0, unknown=0)
    wide = Load(low=low, high=low + more, queued=0, oldest_wait_s=0.0, unknown=unknown)

    assert 0 <= desired(exact) <= scaling.max
    if inputs.current <= scaling.max:
        assert desired(wide) >= min(desired(exact), inputs.current)


@settings(max_examples=100, deadline=None)
@given(moment=scalings(), low=loads)
def test_what_is_remembered_does_not_grow_without_bound(moment: tuple[Intent, Inputs, Memory], low: float) -> None:
    intent, inputs, memory = moment
    load = Load(low=low, high=low, queued=0, oldest_wait_s=0.0, unknown=0)
    now = 1000.0

    for number in range(700):
        now += 2.0
        wobbling = replace(load, low=low + number % 3, high=low + number % 3)
        _, memory = decide(intent, replace(inputs, at=now, current=number % 7, ready=0, load=wobbling), memory)

    assert all(len(history) <= 600 for history in (memory.load, memory.wishes, memory.moves))


def test_names_of_the_worlds_services_are_those_of_the_laws() -> None:
    world = a_world(Tier.WARM, gateway=True)

    world.settle()

    assert set(world.intents) == {ServiceName("chat"), ServiceName("code"), ServiceName("draw")}
    assert {replica.phase for replica in world.in_role(Role.SERVING)} == {ReplicaPhase.READY}
