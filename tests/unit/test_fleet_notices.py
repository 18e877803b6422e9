"""Stories of machines that their cloud takes back: told beforehand, left in time, replaced elsewhere."""

from dataclasses import replace

import pytest
from fleet_world import CLOUD, NO_STANDBY, OTHER_CLOUD, START, World, a_service, an_offer, check_laws, scaled

from fleetctl.decide.planner import plan
from fleetctl.decide.scaling import decide
from fleetctl.model.decisions import Verb
from fleetctl.model.instances import InstancePhase, Sighting, Wanted
from fleetctl.model.names import InstanceId, PoolName, ServiceName
from fleetctl.model.notices import HEED_WITHIN_S, Notice
from fleetctl.model.places import place_of
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.model.services import Behavior, Gpu, Market, Mix, Placement, Pool, RatePolicy, Service, Standby, Tier

CHAT = ServiceName("chat")
TWO_GPUS = Pool(name=PoolName("twos"), gpu=(Gpu(name="L40S", count=2),), standby=NO_STANDBY, max=4)
TICK_S = 2.0
"""The usual period of a controller."""


def a_world(*services: Service, **settings: object) -> World:
    """A world that breaks the test as soon as a law is broken."""
    world = World(*services, **settings)  # type: ignore[arg-type]
    world.checks.append(check_laws)
    return world


def one_of(world: World, name: str = "chat") -> Replica:
    return world.ready(name)[0]


def machine_of(replica: Replica) -> InstanceId:
    assert replica.instance is not None
    return replica.instance


def open_slots(world: World) -> dict[str, int]:
    """Requests that the gateway may send to each Replica."""
    assert world.routes is not None
    return {one.replica: one.slots for route in world.routes.routes for one in route.upstreams}


def rested(world: World) -> None:
    """Run until the Standby is there too and nothing is left to do."""
    world.until(lambda: standing_by(world) == 1)
    world.settle()


def standing_by(world: World) -> int:
    if not world.plan.decisions:
        return 0
    inputs = world.decision().inputs
    assert inputs is not None
    return inputs.standby


def with_standby(tier: Tier, slots: int = 1, **changes: object) -> Service:
    return scaled(a_service(standby=Standby(tier=tier, slots=slots)), **changes)


# a notice that presses


def test_a_spot_notice_drains_the_machine_at_once_and_brings_another() -> None:
    world = a_world(a_service(), request_s=10.0)
    world.load(20)
    world.settle()
    going = machine_of(one_of(world))

    world.notice(going, 120.0)
    world.tick()

    (draining,) = world.in_role(Role.DRAINING)
    assert draining.instance == going
    assert open_slots(world)[draining.id] == 0
    assert len(world.serving()) == 2, "a replacement is ordered in the same tick"
    new = next(one for one in world.held() if one.id not in world.machines)
    assert world.plan.actions[0].instance == new.id
    world.until(lambda: world.instances[going].wanted is Wanted.TERMINATED)
    world.settle()
    assert len(world.ready()) == 2
    assert going not in {replica.instance for replica in world.serving()}
    assert world.cut == 0
    assert world.said("spot notice, gone in 120 s (told by the test): draining it and replacing it elsewhere")


def test_a_machine_is_given_back_as_soon_as_it_has_drained_not_at_its_deadline() -> None:
    world = a_world(a_service(), request_s=10.0)
    world.load(20)
    world.settle()
    going = machine_of(one_of(world))
    world.notice(going, 120.0)

    took_s = world.until(lambda: world.machines[going].gone)

    assert took_s <= 10.0 + 4 * TICK_S
    assert world.said("giving it back: drained")


def test_what_still_runs_at_the_deadline_is_left_to_the_cloud() -> None:
    world = a_world(a_service(drain_timeout_s=600.0), request_s=300.0)
    world.load(20)
    world.settle()
    going = machine_of(one_of(world))

    world.notice(going, 30.0)
    world.run(28.0)

    assert world.instances[going].wanted is Wanted.RUNNING, "its requests may still end"
    assert world.machines[going].engines
    world.run(10.0)
    assert world.instances[going].over
    assert world.cut == 10, "what could not end in time was cut by the cloud, and by nobody else"
    world.settle()
    assert len(world.ready()) == 2


@pytest.mark.parametrize("notice_s", [120.0, 30.0], ids=["as on EC2", "as on GCP and Azure"])
def test_requests_that_end_before_the_deadline_are_never_cut(notice_s: float) -> None:
    world = a_world(a_service(), request_s=25.0)
    world.load(40)
    world.settle()

    for _ in range(4):
        world.notice(machine_of(one_of(world)), notice_s)
        world.run(150.0)

    assert world.cut == 0
    assert len(world.ready()) == 4


@pytest.mark.parametrize("tier", [Tier.HOT, Tier.ASLEEP, Tier.WARM, Tier.STOPPED])
def test_standby_takes_over_and_is_filled_up_again(tier: Tier) -> None:
    world = a_world(with_standby(tier, min=2))
    world.load(20)
    rested(world)
    going = machine_of(one_of(world))
    launched = len(world.launched)

    world.notice(going, 120.0)
    world.tick()
    took_s = world.until(lambda: len(world.ready()) == 2) + TICK_S
    rested(world)

    most_s = {Tier.HOT: TICK_S, Tier.ASLEEP: 3 * TICK_S, Tier.WARM: 12.0, Tier.STOPPED: 26.0}[tier]
    assert took_s <= most_s
    assert len(world.launched) == launched + 1, "one machine for the one that goes"


def test_standby_on_a_machine_that_goes_ends_and_stands_by_elsewhere() -> None:
    world = a_world(with_standby(Tier.HOT, min=1))
    world.load(5)
    rested(world)
    (hot,) = world.in_role(Role.HOT)
    going = machine_of(hot)

    world.notice(going, 120.0)
    world.tick()

    assert hot.id not in world.replicas
    assert world.instances[going].wanted is Wanted.TERMINATED, "nothing has to drain"
    rested(world)
    (other,) = world.in_role(Role.HOT, ReplicaPhase.READY)
    assert other.instance != going
    assert world.cut == 0


def test_a_replica_that_would_not_be_ready_in_time_is_not_waited_for() -> None:
    world = a_world(a_service(), engine_s=60.0)
    world.load(10)
    world.until(lambda: any(one.phase is ReplicaPhase.LOADING for one in world.serving()))
    going = machine_of(world.serving()[0])

    world.notice(going, 120.0)
    world.tick()

    assert world.instances[going].wanted is Wanted.TERMINATED
    world.settle()
    assert len(world.ready()) == 1


def test_free_slots_of_a_machine_that_goes_are_taken_by_nothing() -> None:
    world = a_world(a_service(), offers=[an_offer(gpus=2)], pools=[TWO_GPUS])
    world.up(replace(a_service(), pool=TWO_GPUS.name))
    world.load(10)
    world.settle()
    going = machine_of(one_of(world))
    assert len(world.held()) == 1
    assert standing_by(world) == 1, "one of its two GPUs is free"

    world.notice(going, 120.0)
    world.load(20)
    world.tick()
    assert standing_by(world) == 0
    world.until(lambda: len(world.ready()) == 2, limit_s=100.0)

    assert going not in {replica.instance for replica in world.serving()}


def test_a_burst_during_the_notice_takes_back_no_replica_that_goes() -> None:
    world = a_world(a_service(), request_s=60.0)
    world.load(20)
    world.settle()
    going = machine_of(one_of(world))
    world.notice(going, 120.0)
    world.tick()

    world.load(60)
    world.until(lambda: len(world.ready()) == 6, limit_s=100.0)

    assert going not in {replica.instance for replica in world.serving()}
    assert not world.said("taken back from draining")


def test_every_machine_of_a_service_at_once_is_replaced_and_nothing_is_scaled() -> None:
    world = a_world(a_service(), request_s=10.0)
    world.load(30)
    world.settle()
    before = {machine_of(replica) for replica in world.ready()}
    scaled_before = len(world.said("→"))

    for going in before:
        world.notice(going, 120.0)
    world.settle()

    assert len(world.ready()) == 3
    assert not before & {replica.instance for replica in world.serving()}
    assert len(world.said("→")) == scaled_before, "which replicas serve has changed, not how many"
    assert world.cut == 0


def test_replacements_wait_for_no_rate_limit_and_no_known_load() -> None:
    slow = Behavior(policies=(RatePolicy(kind="replicas", value=1, period_s=600.0),))
    world = a_world(scaled(a_service(), up=slow, min=4))
    world.load(40)
    world.until(lambda: len(world.ready()) == 4, limit_s=3000.0)
    world.run(700.0)
    world.gateway_down = world.unreadable = True
    for replica in world.ready():
        world.notice(machine_of(replica), 120.0)

    world.tick()

    assert len(world.serving()) == 4
    assert world.desired() == 4


def test_the_notice_stands_in_explain_and_is_decided_again_from_the_journal() -> None:
    world = a_world(a_service(), request_s=30.0)
    world.load(20)
    world.settle()
    going = machine_of(one_of(world))

    world.notice(going, 120.0)
    world.tick()
    memory = world.memories[CHAT]
    world.tick()

    decision = world.decision()
    (note,) = [stage.note for stage in decision.stages if stage.stage == "notice"]
    assert note == f"{going}: spot notice, gone in 118 s (told by the test); 1 of its replicas drain there"
    assert decision.inputs is not None
    assert decision.inputs.notices == (note,)
    assert decide(world.intents[CHAT], decision.inputs, memory)[0] == decision


def test_a_restarted_controller_goes_on_with_what_it_had_heeded() -> None:
    world = a_world(a_service(), request_s=30.0)
    world.load(20)
    world.settle()
    going = machine_of(one_of(world))
    world.notice(going, 120.0)
    world.tick()

    world.restart_controller(calls_arrived=True)
    world.machines[going].notice = None  # withdrawn meanwhile: its replacement is on its way all the same
    world.settle()

    assert world.instances[going].over
    assert world.instances[going].notice is not None
    assert not world.said("withdrew")
    assert len(world.ready()) == 2
    assert world.cut == 0


def test_a_machine_that_was_stopped_at_its_deadline_is_not_started_again() -> None:
    world = a_world(a_service(), request_s=300.0)
    world.load(20)
    world.settle()
    going = machine_of(one_of(world))
    world.notice(going, 20.0)
    world.run(20.0)
    verbs: list[Verb] = []
    world.checks.append(lambda _snapshot, made, _world: verbs.extend(action.verb for action in made.actions))

    machine = world.machines[going]
    machine.notice, machine.state, machine.engines = None, Sighting.STOPPED, {}
    world.until(lambda: world.instances[going].over)

    assert machine.gone
    assert Verb.TERMINATE in verbs
    assert Verb.START not in verbs
    assert world.said("was stopped while it drained")


def test_a_replica_that_has_drained_on_such_a_machine_does_not_stand_by_there() -> None:
    world = a_world(with_standby(Tier.HOT, min=2), request_s=10.0)
    world.load(20)
    rested(world)
    leaving = one_of(world)
    world.notice(machine_of(leaving), 120.0)
    world.tick()
    drains_until = world.plan.at + 10.0
    world.until(lambda: world.now >= drains_until)

    world.up(with_standby(Tier.HOT, slots=3, min=2))  # more is to stand by in the very tick in which it is empty
    world.tick()

    assert leaving.id not in world.replicas
    assert not world.said("recycled")


def test_standby_on_a_machine_with_a_hint_is_promoted_last() -> None:
    world = a_world(with_standby(Tier.HOT, slots=2, min=1))
    world.load(5)
    world.until(lambda: standing_by(world) == 2)
    first, second = world.in_role(Role.HOT)

    world.notice(machine_of(first), 0.0, "rebalance")
    world.load(15)
    world.until(lambda: len(world.serving()) == 2)

    assert {replica.id for replica in world.serving()} >= {second.id}
    assert world.replicas[first.id].role is Role.HOT


# where the replacement comes from


def test_what_is_taken_counts_against_its_place_from_the_very_tick() -> None:
    near, far = an_offer(price=1.0), replace(an_offer(price=1.2), zone="z2")
    world = a_world(a_service(), offers=[near, far])
    world.load(10)
    world.settle()
    going = world.instances[machine_of(one_of(world))]
    before = world.places[str(place_of(going.offer))].taken

    world.notice(going.id, 120.0)
    world.tick()

    (new,) = [instance for instance in world.held() if instance.id != going.id]
    assert going.offer.zone == "z1"
    assert new.offer.zone == "z2", "for a fifth more, away from where machines are being taken"
    after = world.places[str(place_of(going.offer))].taken
    assert after == pytest.approx(before + 1.0, rel=1e-3)


def test_a_machine_that_is_gone_at_its_deadline_counts_once() -> None:
    world = a_world(a_service(), request_s=300.0)
    world.load(10)
    world.settle()
    going = world.instances[machine_of(one_of(world))]

    world.notice(going.id, 20.0)
    world.run(60.0)

    assert world.instances[going.id].phase is InstancePhase.LOST
    assert world.places[str(place_of(going.offer))].faded(world.now).taken == pytest.approx(1.0, rel=1e-2)


def test_spot_that_is_taken_back_does_not_count_as_spot_that_is_held() -> None:
    mix = Placement(mix=Mix(spot=0.5, on_demand_base=0))
    spot = replace(an_offer(price=0.3), market=Market.SPOT)
    world = a_world(a_service(placement=mix), offers=[an_offer(), spot])
    world.load(10)
    world.settle()
    (going,) = [instance for instance in world.held() if instance.offer.market is Market.SPOT]

    world.notice(going.id, 120.0)
    world.tick()

    (new,) = [instance for instance in world.held() if instance.id not in world.machines]
    assert new.offer.market is Market.SPOT


# hints


@pytest.mark.parametrize("tier", [Tier.HOT, Tier.ASLEEP, Tier.WARM, Tier.STOPPED])
def test_a_hint_is_heeded_where_standby_is_at_hand_and_never_lowers_what_is_ready(tier: Tier) -> None:
    world = a_world(with_standby(tier, min=2, max=4))
    world.load(20)
    rested(world)
    going = machine_of(one_of(world))
    world.checks.append(lambda _snapshot, _plan, now: _at_least(now, 2))

    world.notice(going, 0.0, "rebalance")
    world.until(lambda: going not in {replica.instance for replica in world.serving()})
    rested(world)

    assert len(world.ready()) == 2
    assert len(world.held()) == 3
    assert world.cut == 0
    assert world.said(f"{going} may be taken back, and others serve")


def _at_least(world: World, count: int) -> None:
    assert len(world.ready()) >= count, world.describe()


def test_a_hint_without_standby_is_ignored() -> None:
    world = a_world(scaled(a_service(standby=NO_STANDBY), min=2))
    world.load(20)
    world.settle()
    serving = {replica.id for replica in world.ready()}

    world.notice(machine_of(one_of(world)), 0.0, "rebalance")
    world.tick()
    rest = [world.tick() for _ in range(50)]

    assert {replica.id for replica in world.ready()} == serving
    assert [made for made in rest if made.actions or made.instances or made.replicas or made.events] == []


def test_hints_for_every_machine_move_nothing_and_buy_nothing() -> None:
    world = a_world(with_standby(Tier.HOT, min=2))
    world.load(20)
    rested(world)
    launched = len(world.launched)

    for instance in world.held():
        world.notice(instance.id, 0.0, "rebalance")
    world.run(300.0)

    assert len(world.launched) == launched
    assert len(world.ready()) == 2


def test_a_move_while_the_load_is_unknown_adds_no_replica() -> None:
    world = a_world(with_standby(Tier.WARM, slots=3, min=2))
    world.load(20)
    world.settle()
    world.gateway_down = world.unreadable = True

    world.notice(machine_of(one_of(world)), 0.0, "rebalance")
    world.run(120.0)

    assert world.desired() == 2
    assert len(world.serving()) == 2


def test_maintenance_far_ahead_is_a_hint_until_it_presses() -> None:
    world = a_world(scaled(a_service(standby=NO_STANDBY), min=1), period_s=20.0)
    world.load(5)
    world.settle()
    going = machine_of(one_of(world))
    announced_at = world.now

    world.notice(going, HEED_WITHIN_S + 3600.0, "maintenance")
    world.run(3000.0)
    assert not world.instances[going].reclaimed
    world.until(lambda: world.instances[going].reclaimed, limit_s=2000.0)
    pressed_after_s = world.now - announced_at
    world.settle()

    assert pressed_after_s == pytest.approx(3600.0, abs=2 * world.period_s)
    assert world.instances[going].over
    assert len(world.ready()) == 1
    assert world.cut == 0


def test_a_withdrawn_hint_is_forgotten() -> None:
    world = a_world(scaled(a_service(), min=1))
    world.load(5)
    world.settle()
    going = machine_of(one_of(world))
    world.notice(going, 0.0, "rebalance")
    world.tick()
    hinted = world.instances[going].hinted

    world.machines[going].notice = None
    world.tick()

    assert hinted
    assert not world.instances[going].hinted
    assert world.said("its cloud withdrew the notice")


# how long it takes


def test_from_notice_to_drained_takes_a_tick_and_the_running_requests_own_time() -> None:
    """A hundred notices, each at another moment of the tick: p99 within 2 s, plus what the last request takes."""
    request_s = 6.0
    world = a_world(scaled(a_service(), max=4), request_s=request_s)
    world.load(20)
    world.settle()
    closed_s, drained_s = [], []

    for turn in range(100):
        replica = one_of(world)
        going = machine_of(replica)
        told_at = world.now - TICK_S * (turn + 0.5) / 100.0  # since the last look, told for the first time at this one
        world.machines[going].notice = Notice(kind="spot", deadline_at=told_at + 120.0)
        world.tick()
        assert open_slots(world)[replica.id] == 0
        closed_at = world.plan.at
        closed_s.append(closed_at - told_at)
        world.until(lambda name=replica.id: world.sent.get(name, 0) == 0)  # type: ignore[misc]
        drained_s.append(world.plan.at - told_at)
        world.until(lambda: len(world.ready()) == 2)
        world.settle()

    assert sorted(closed_s)[98] <= 2.0
    assert sorted(drained_s)[98] <= 2.0 + request_s
    assert world.cut == 0


def test_a_notice_is_part_of_what_a_plan_is_made_from() -> None:
    world = a_world(a_service(), request_s=30.0)
    world.load(20)
    world.settle()
    world.notice(machine_of(one_of(world)), 120.0)
    snapshot = world.snapshot()

    first, second = plan(snapshot), plan(snapshot)

    assert first == second
    assert [row for row in first.instances if row.reclaimed_at == world.now]


def test_an_agent_that_started_again_does_not_put_the_deadline_off() -> None:
    world = a_world(scaled(a_service(), min=1), period_s=2.0)
    world.load(5)
    world.settle()
    going = machine_of(one_of(world))
    first = Notice(kind="maintenance", deadline_at=world.now + 3600.0, estimated=True)
    world.machines[going].notice = first
    world.run(100.0)

    world.machines[going].notice = replace(first, deadline_at=world.now + 3600.0)
    world.tick()

    assert world.instances[going].notice == first


@pytest.mark.parametrize(
    ("notice", "presses", "why"),
    [
        (Notice(kind="spot", deadline_at=START + 120.0), True, "two minutes are not much"),
        (Notice(kind="spot"), True, "no time given: at any moment"),
        (Notice(kind="maintenance", deadline_at=START + HEED_WITHIN_S), True, "a machine may take as long to bring"),
        (Notice(kind="maintenance", deadline_at=START + HEED_WITHIN_S + 1.0), False, "there is time"),
        (Notice(kind="maintenance", deadline_at=START - 5.0), True, "overdue"),
        (Notice(kind="rebalance"), False, "a hint never presses"),
    ],
)
def test_what_presses(notice: Notice, presses: bool, why: str) -> None:
    assert notice.presses(START) is presses, why


def test_the_provider_that_answers_gets_the_replacement() -> None:
    world = a_world(a_service(), offers=[an_offer(CLOUD), an_offer(OTHER_CLOUD, price=5.0)])
    world.load(10)
    world.settle()
    going = machine_of(one_of(world))

    world.unreachable.add(CLOUD)
    world.notice(going, 120.0)
    world.until(lambda: len(world.ready()) == 1 and one_of(world).instance != going, limit_s=100.0)

    assert world.instances[machine_of(one_of(world))].offer.provider == OTHER_CLOUD
