"""Stories of whole fleets, told tick by tick in virtual time."""

from dataclasses import replace

import pytest
from fleet_world import (
    CLOUD,
    NO_STANDBY,
    OTHER_CLOUD,
    START,
    World,
    a_service,
    an_offer,
    check_laws,
    scaled,
)

from fleetctl.model.decisions import Plan, Verb
from fleetctl.model.instances import InstancePhase, Sighting, Wanted
from fleetctl.model.names import PoolName, ServiceName
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.model.services import Behavior, Gpu, Pool, RatePolicy, Service, Standby, Tier
from fleetctl.model.snapshots import Snapshot

CHAT = ServiceName("chat")
COLD_S = 20.0 + 10.0 + 6.0
"""Boot, artifacts, engine: what the world below takes for one Replica from nothing."""


def a_world(*services: Service, **settings: object) -> World:
    """A world that breaks the test as soon as a law is broken."""
    world = World(*services, **settings)  # type: ignore[arg-type]
    world.checks.append(check_laws)
    return world


# demand


def test_a_service_goes_from_zero_up_with_its_load_and_back_to_zero() -> None:
    world = a_world(a_service())
    world.until(lambda: len(world.ready()) == 1)
    world.until(lambda: not world.running())

    world.load(35)
    took_s = world.until(lambda: len(world.ready()) == 4)
    world.load(0)
    world.until(lambda: not world.running())

    assert took_s < COLD_S + 20.0  # the averages' windows and a few ticks on top of one cold start


def test_a_declared_service_is_seen_to_work_even_when_booting_takes_longer_than_its_idle_time() -> None:
    world = a_world(a_service(), boot_s=200.0)

    world.run(400.0)

    assert world.said("ready on")
    assert not world.said("given up before it was ready")
    assert not world.running()


def test_a_steady_load_leaves_nothing_to_do() -> None:
    world = a_world(a_service())
    world.load(25)
    world.settle()

    plans = [world.tick() for _ in range(50)]

    assert [plan for plan in plans if plan.actions or plan.instances or plan.replicas or plan.events] == []
    assert world.desired() == 3


def test_a_backlog_is_not_ordered_twice_while_its_replicas_boot() -> None:
    world = a_world(a_service(), boot_s=120.0)

    world.load(40)
    world.settle()

    assert len(world.launched) == 4


def test_load_that_falls_is_followed_after_the_delay_and_no_request_is_cut_off() -> None:
    world = a_world(a_service(), request_s=20.0)
    world.load(40)
    world.settle()

    world.load(10)
    begun = world.now
    world.until(lambda: bool(world.in_role(Role.DRAINING)))
    held_s = world.now - begun
    drained_by = world.until(lambda: len(world.replicas) == 1)

    assert held_s >= 30.0  # scale_down_delay_s
    assert drained_by >= 20.0 - world.period_s  # as long as its last requests run
    assert not world.said("requests running")


def test_load_that_returns_takes_back_a_draining_replica_instead_of_a_new_one() -> None:
    world = a_world(a_service(), request_s=50.0)
    world.load(40)
    world.settle()
    launched = len(world.launched)
    world.load(10)
    world.until(lambda: len(world.in_role(Role.DRAINING)) == 3)

    world.load(40)
    world.until(lambda: len(world.ready()) == 4, limit_s=30.0)

    assert len(world.launched) == launched
    assert world.said("taken back from draining")


def test_a_draining_replica_without_metrics_ends_once_the_gateway_has_nothing_in_flight() -> None:
    world = a_world(scaled(replace(a_service(), drain_timeout_s=600.0), min=1))
    world.override("chat", 2)
    world.until(lambda: len(world.ready()) == 2)
    world.unreadable = True

    world.override("chat", 1)
    world.until(lambda: len(world.in_role(Role.DRAINING)) == 1)
    took_s = world.until(lambda: not world.in_role(Role.DRAINING))

    assert 25.0 <= took_s <= 60.0
    assert not world.said("drain timeout")


def test_a_replica_that_does_not_drain_is_stopped_at_its_timeout() -> None:
    world = a_world(a_service(), request_s=10_000.0)
    world.load(20)
    world.settle()

    world.override("chat", 1)
    took_s = world.until(lambda: len(world.replicas) == 1)

    assert 60.0 <= took_s <= 60.0 + 3 * world.period_s
    assert world.said("the drain timeout of 60 s is over")


# standby


def with_standby(tier: Tier, slots: int = 1) -> Service:
    return scaled(a_service(standby=Standby(tier=tier, slots=slots)), min=1, max=4)


@pytest.mark.parametrize(
    ("tier", "most_s", "origin", "why"),
    [
        (Tier.HOT, 6.0, "hot", "the engine is loaded: only routes change"),
        (Tier.ASLEEP, 10.0, "asleep", "weights come back to the GPU"),
        (Tier.WARM, 16.0, "warm", "only the engine starts"),
        (Tier.STOPPED, 36.0, "stopped", "half a boot, and the engine"),
    ],
)
def test_a_burst_takes_the_standby_first_and_the_pool_refills(tier: Tier, most_s: float, origin: str, why: str) -> None:
    world = a_world(with_standby(tier))
    world.load(5)
    world.settle()
    world.run(60.0)
    held = len(world.held())
    assert held == 2

    world.load(20)
    took_s = world.until(lambda: len(world.ready()) == 2)
    promoted = max(world.serving(), key=lambda replica: replica.ready_at or 0.0)
    world.settle()
    world.run(60.0)

    assert took_s <= most_s, why
    assert promoted.origin == origin
    assert len(world.held()) == held + 1  # the standby is there again
    assert len(world.serving()) == 2


@pytest.mark.parametrize("tier", [Tier.HOT, Tier.ASLEEP, Tier.WARM])
def test_scale_in_recycles_an_instance_as_standby_and_gives_back_the_rest(tier: Tier) -> None:
    world = a_world(with_standby(tier))
    world.load(30)
    world.settle()
    world.run(80.0)
    assert len(world.held()) == 4

    world.load(5)
    world.until(lambda: len(world.serving()) == 1)
    world.settle()

    assert len(world.held()) == 2
    idle = world.in_role(Role.HOT, ReplicaPhase.READY) + world.in_role(Role.ASLEEP, ReplicaPhase.ASLEEP)
    assert len(idle) == (0 if tier is Tier.WARM else 1)
    assert len(world.launched) == 4


def test_a_stopped_standby_is_stopped_only_once_it_holds_the_artifacts_and_costs_nothing_then() -> None:
    world = a_world(with_standby(Tier.STOPPED))
    world.load(5)

    world.until(lambda: any(instance.phase is InstancePhase.STOPPED for instance in world.held()))
    stopped_at = world.now
    world.settle()

    assert stopped_at - START >= 20.0 + 10.0
    assert len(world.running()) == 1
    assert world.plan.actions == ()


def test_stopped_instances_that_no_longer_stand_by_are_given_back() -> None:
    world = a_world(with_standby(Tier.STOPPED, slots=2))
    world.load(5)
    world.until(lambda: sum(instance.phase is InstancePhase.STOPPED for instance in world.held()) == 2)

    world.up(with_standby(Tier.WARM))
    world.settle()

    assert not [instance for instance in world.held() if instance.wanted is Wanted.STOPPED]
    assert len(world.running()) == 2


def test_standby_never_grows_past_what_max_can_use() -> None:
    world = a_world(scaled(a_service(standby=Standby(slots=5)), min=1, max=3))
    world.load(5)

    world.settle()
    world.run(30.0)

    assert len(world.held()) == 3  # one serves, two more are all that max allows


# slots


def test_eight_replicas_share_one_instance_each_on_gpus_of_its_own() -> None:
    pool = Pool(name=PoolName("big"), gpu=(Gpu(name="L40S", count=8),), standby=NO_STANDBY, max=2)
    world = a_world(a_service(pool=pool.name, standby=None), pools=[pool], offers=[an_offer(gpus=8)])

    world.load(75)
    world.settle()

    assert sorted(replica.gpus for replica in world.serving()) == [(index,) for index in range(8)]
    assert len(world.launched) == 1


def test_replicas_of_two_gpus_take_neighbours() -> None:
    pool = Pool(name=PoolName("big"), gpu=(Gpu(name="L40S", count=8),), standby=NO_STANDBY, max=2)
    service = a_service(pool=pool.name, standby=None, gpu=(Gpu(name="L40S", count=2),))
    world = a_world(service, pools=[pool], offers=[an_offer(gpus=8)])

    world.load(35)
    world.settle()

    assert sorted(replica.gpus for replica in world.serving()) == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_two_services_share_a_pool_and_its_standby_and_what_one_frees_the_other_takes() -> None:
    pool = Pool(name=PoolName("shared"), gpu=(Gpu(name="L40S"),), standby=Standby(slots=1), max=5)
    chat = scaled(a_service("chat", pool=pool.name, standby=None), max=4)
    code = scaled(a_service("code", pool=pool.name, standby=None), max=4)
    world = a_world(chat, code, pools=[pool])
    world.load(30, "chat")
    world.load(10, "code")
    world.settle()
    world.run(60.0)
    assert len(world.held()) == 5

    world.load(10, "chat")
    world.load(30, "code")
    took_s = world.until(lambda: len(world.ready("code")) == 3)
    world.settle()

    assert len(world.launched) == 5  # no new machine
    assert took_s < 100.0


def test_a_pool_never_grows_past_its_max_and_the_rest_waits() -> None:
    pool = Pool(name=PoolName("small"), gpu=(Gpu(name="L40S"),), standby=Standby(slots=1), max=3)
    world = a_world(a_service(pool=pool.name, standby=None), pools=[pool])

    world.load(60)
    world.run(200.0)

    assert len(world.running()) == 3
    assert len(world.ready()) == 3
    assert len([replica for replica in world.serving() if replica.phase is ReplicaPhase.PENDING]) == 3


def test_a_pools_min_is_kept_warm_while_a_service_of_it_is_up() -> None:
    pool = Pool(name=PoolName("kept"), gpu=(Gpu(name="L40S"),), standby=NO_STANDBY, min=2, max=3)
    world = a_world(a_service(pool=pool.name, standby=None), pools=[pool])
    world.run(150.0)
    kept = len(world.running())

    world.down("chat")
    world.until(lambda: not world.running())

    assert kept == 2


# rollouts


def watch_ready(world: World, least: int) -> None:
    """From now on fewer ready Replicas than `least` break the test."""

    def check(snapshot: Snapshot, made: Plan, world: World) -> None:
        assert len(world.ready()) >= least, f"{len(world.ready())} ready, {least} are promised\n{world.describe()}"

    world.checks.append(check)


@pytest.mark.parametrize(
    ("service", "why"),
    [
        (a_service(), "plain"),
        (scaled(a_service(), step=2), "two at a time"),
        (scaled(a_service(), max=4), "at max, the pool needs room for the surge"),
        (
            scaled(a_service(), up=Behavior(policies=(RatePolicy(kind="replicas", value=1, period_s=60.0),))),
            "a rollout is no scale-up, so rates do not slow what is already there down",
        ),
        (a_service(standby=Standby(tier=Tier.HOT, slots=1)), "standby of the old revision goes too"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rollout_replaces_every_replica_and_never_lowers_what_is_ready(service: Service, why: str) -> None:
    world = a_world(service)
    world.load(35)
    world.until(lambda: len(world.ready()) == 4, limit_s=600.0)
    world.run(60.0)
    watch_ready(world, 4)

    world.up(service, revision="r2")
    world.until(lambda: {replica.revision for replica in world.replicas.values()} == {"r2"}, limit_s=900.0)
    world.settle()

    assert len(world.ready()) == 4
    assert not [event for event in world.events if event.kind == "scale" and event.at > START + 700]


def test_a_rollout_whose_load_is_unknown_keeps_what_is_ready() -> None:
    world = a_world(a_service(), gateway=False)
    world.load(35)
    world.until(lambda: len(world.ready()) == 4)
    world.settle()
    watch_ready(world, 4)

    world.unreadable = True
    world.up(a_service(), revision="r2")
    world.run(300.0)

    assert world.desired() == 4


def test_a_broken_revision_is_given_up_and_the_old_one_goes_on_serving() -> None:
    world = a_world(a_service())
    world.load(35)
    world.settle()
    watch_ready(world, 4)
    world.broken.add((CHAT, "r2"))

    world.up(a_service(), revision="r2")
    world.run(1000.0)
    tries = len(world.said("failed to start"))
    world.broken.clear()
    world.up(a_service(), revision="r2")  # handed in once more: nothing is tried again by itself
    world.until(lambda: {replica.revision for replica in world.replicas.values()} == {"r2"}, limit_s=900.0)

    assert tries == 3
    assert len(world.ready()) == 4


# faults


def test_a_crash_looping_service_is_held_back_and_others_go_on() -> None:
    world = a_world(a_service("chat"), a_service("code"))
    world.broken.add((CHAT, "r1"))

    world.load(40, "chat")
    world.load(20, "code")
    world.run(600.0)
    tries = len(world.said("failed to start"))
    reason = world.decision("chat").reason
    world.broken.clear()
    world.until(lambda: len(world.ready("chat")) == 4, limit_s=700.0)

    assert len(world.ready("code")) == 2
    assert tries <= 4 + 6
    assert "failed to start" in reason


def test_a_crash_looping_hot_standby_is_held_back_too() -> None:
    world = a_world(with_standby(Tier.HOT, slots=2))
    world.load(5)
    world.settle()
    world.broken.add((CHAT, "r1"))

    for replica in world.in_role(Role.HOT):
        world.kill_engine(replica.id)
    world.run(400.0)

    assert len(world.said("failed to start")) <= 8
    assert len(world.ready()) == 1


def test_a_replica_that_dies_is_replaced_on_the_same_instance() -> None:
    world = a_world(a_service())
    world.load(25)
    world.settle()

    world.kill_engine(world.serving()[0].id)
    world.run(10.0)
    world.until(lambda: len(world.ready()) == 3)

    assert len(world.launched) == 3
    assert world.said("died on")


def test_an_instance_that_is_taken_away_is_replaced() -> None:
    world = a_world(a_service())
    world.load(25)
    world.settle()
    victim = world.serving()[0].instance
    assert victim is not None

    world.kill_machine(victim)
    took_s = world.until(lambda: len(world.ready()) == 3)
    world.settle()

    assert took_s < COLD_S + 15.0
    assert world.instances[victim].phase is InstancePhase.LOST
    assert len(world.running()) == 3


def test_absence_from_listings_is_believed_only_after_the_consistency_window() -> None:
    world = a_world(a_service(), consistency_s=60.0)
    world.load(25)
    world.settle()
    victim = world.serving()[0].instance
    assert victim is not None

    world.kill_machine(victim)
    world.run(50.0)
    before = world.instances[victim].phase
    world.run(30.0)

    assert before is InstancePhase.READY
    assert world.instances[victim].phase is InstancePhase.LOST


def test_a_new_instance_that_listings_lack_at_first_is_not_lost() -> None:
    world = a_world(a_service(), consistency_s=30.0)
    world.listing_lag_s = 25.0

    world.load(25)
    world.settle()

    assert len(world.launched) == 3
    assert not world.said("lost")


def test_a_provider_that_cannot_be_reached_has_nothing_replaced_and_nothing_terminated() -> None:
    world = a_world(a_service(), offers=[an_offer(CLOUD), an_offer(OTHER_CLOUD, price=2.0)])
    world.load(25)
    world.settle()
    serving = {replica.id for replica in world.serving()}

    world.unreachable.add(CLOUD)
    world.silent.update(world.instances)
    world.unreadable = True
    world.gateway_down = True
    world.run(1000.0)
    world.faults_stop()
    world.run(100.0)

    assert {replica.id for replica in world.serving()} == serving
    assert len(world.launched) == 3
    assert len(world.ready()) == 3


def test_while_one_provider_is_silent_growth_goes_to_the_other() -> None:
    world = a_world(a_service(), offers=[an_offer(CLOUD), an_offer(OTHER_CLOUD, price=2.0)])
    world.load(15)
    world.settle()

    world.unreachable.add(CLOUD)
    world.load(35)
    world.until(lambda: len(world.ready()) == 4)

    assert sorted(machine.spec.offer.provider for machine in world.running()) == [
        CLOUD,
        CLOUD,
        OTHER_CLOUD,
        OTHER_CLOUD,
    ]


@pytest.mark.parametrize(
    ("code", "retryable", "why"),
    [
        ("capacity", True, "another cloud has some"),
        ("quota", False, "a person must raise it; meanwhile another cloud"),
        ("auth", False, "a person must act; meanwhile another cloud"),
    ],
)
def test_a_refused_launch_goes_to_the_next_offer_and_the_refused_one_rests(
    code: str, retryable: bool, why: str
) -> None:
    world = a_world(a_service(), offers=[an_offer(CLOUD), an_offer(OTHER_CLOUD, price=2.0)])
    world.refusals[CLOUD] = (code, retryable)

    world.load(25)
    took_s = world.until(lambda: len(world.ready()) == 3)
    world.run(600.0)

    assert took_s < COLD_S + 30.0, why
    assert all(machine.spec.offer.provider == OTHER_CLOUD for machine in world.running())
    assert len([spec for spec in world.launched.values() if spec.offer.provider == CLOUD]) <= 3


def test_a_cloud_without_capacity_is_asked_ever_more_rarely_and_used_when_it_has_some() -> None:
    world = a_world(a_service())
    world.refusals[CLOUD] = ("capacity", True)

    world.load(15)
    world.run(1200.0)
    asked = len(world.launched)
    world.refusals.clear()
    world.until(lambda: len(world.ready()) == 2)

    assert 5 <= asked <= 40


def test_a_launch_whose_answer_is_lost_makes_one_machine() -> None:
    world = a_world(a_service())
    world.lost_answers = 2

    world.load(25)
    world.settle()

    assert len(world.machines) == 3


def test_a_machine_that_comes_to_life_after_it_was_over_is_given_back_again() -> None:
    world = a_world(a_service())
    world.load(5)
    world.settle()
    world.down("chat")
    world.until(lambda: all(row.over for row in world.instances.values()))
    (late,) = world.machines.values()

    late.gone_at, late.state = None, Sighting.RUNNING  # a launch that its cloud had kept waiting
    world.until(lambda: world.said("there after all"))
    world.until(lambda: late.gone and all(row.over for row in world.instances.values()))

    assert len(world.machines) == 1


def test_a_silent_node_is_kept_for_two_minutes_then_replaced() -> None:
    world = a_world(a_service())
    world.load(25)
    world.settle()
    victim = world.serving()[0].instance
    assert victim is not None

    world.silent.add(victim)
    world.run(110.0)
    before = world.instances[victim].wanted
    world.until(lambda: len(world.ready()) == 3 and victim not in {r.instance for r in world.serving()})
    world.until(lambda: world.instances[victim].over)

    assert before is Wanted.RUNNING


def test_an_instance_that_never_boots_is_given_back() -> None:
    world = a_world(a_service(), boot_s=1e9, period_s=10.0)
    world.load(5)

    world.run(1790.0)
    before = len(world.said("given up"))
    world.run(40.0)

    assert before == 0
    assert len(world.said("given up")) == 1


# restarts


@pytest.mark.parametrize("calls_arrived", [True, False])
def test_a_restarted_controller_goes_on_where_the_last_one_stood(calls_arrived: bool) -> None:
    world = a_world(a_service())
    world.load(35)

    for _ in range(12):
        world.run(6.0)
        world.restart_controller(calls_arrived=calls_arrived)
    world.settle()

    assert len(world.machines) == 4
    assert len(world.ready()) == 4


def test_a_lost_store_is_rebuilt_from_the_world_and_no_ready_replica_is_restarted() -> None:
    world = a_world(a_service())
    world.load(35)
    world.settle()
    serving = {replica.id for replica in world.serving()}
    watch_ready(world, 0)

    world.lose_store()
    world.settle()

    assert {replica.id for replica in world.ready()} == serving
    assert len(world.machines) == 4
    assert len(world.running()) == 4


def test_a_lost_store_while_the_provider_is_silent_launches_nothing_twice() -> None:
    world = a_world(a_service())
    world.load(35)
    world.settle()
    serving = {replica.id for replica in world.serving()}

    world.unreachable.add(CLOUD)
    world.lose_store()
    world.run(60.0)
    world.unreachable.clear()
    world.settle()

    assert {replica.id for replica in world.ready()} == serving
    assert len(world.machines) == 4


def test_a_lost_store_gives_nothing_back_before_the_nodes_have_told_what_they_run() -> None:
    world = a_world(a_service())
    world.load(35)
    world.settle()
    serving = {replica.id for replica in world.serving()}

    world.lose_store()
    world.gateway_down = True  # so that nothing says that more than none is wanted
    world.run(10.0)
    world.gateway_down = False
    world.settle()

    assert {replica.id for replica in world.ready()} == serving
    assert len(world.machines) == 4


def test_a_lost_store_finds_its_stopped_standby_and_does_not_start_it() -> None:
    world = a_world(with_standby(Tier.STOPPED))
    world.load(5)
    world.until(lambda: any(instance.phase is InstancePhase.STOPPED for instance in world.held()))

    world.lose_store()
    world.settle()

    assert len(world.machines) == 2
    assert len(world.running()) == 1


def test_down_gives_everything_back() -> None:
    world = a_world(with_standby(Tier.STOPPED, slots=2), a_service("code"))
    world.load(15)
    world.load(15, "code")
    world.run(120.0)

    world.down("chat")
    world.down("code")
    world.until(lambda: not world.held())

    assert all(machine.gone for machine in world.machines.values())
    assert not world.replicas
    assert world.routes is not None
    assert world.routes.routes == ()


def test_a_service_that_moves_to_another_pool_leaves_nothing_behind() -> None:
    world = a_world(a_service())
    world.load(35)
    world.settle()
    old = {instance.id for instance in world.held()}
    watch_ready(world, 4)

    world.pools[PoolName("shared")] = Pool(name=PoolName("shared"), gpu=(Gpu(name="L40S"),), max=20)
    world.up(replace(a_service(), pool=PoolName("shared")), revision="r2")
    world.settle(900.0)

    assert len(world.ready()) == 4
    assert not old & {instance.id for instance in world.held()}
    assert len(world.running()) == len(world.held())


def test_down_of_one_service_of_a_shared_pool_leaves_the_other_alone() -> None:
    pool = Pool(name=PoolName("shared"), gpu=(Gpu(name="L40S"),), standby=NO_STANDBY, max=5)
    chat = a_service("chat", pool=pool.name, standby=None)
    code = a_service("code", pool=pool.name, standby=None)
    world = a_world(chat, code, pools=[pool])
    world.load(20, "chat")
    world.load(20, "code")
    world.settle()
    watch_ready_of = {replica.id for replica in world.ready("code")}

    world.load(0, "chat")
    world.down("chat")
    world.settle()

    assert {replica.id for replica in world.ready("code")} == watch_ready_of
    assert len(world.running()) == 2


def test_what_a_node_is_told_to_run_can_be_put_to_sleep_where_standby_sleeps() -> None:
    service = replace(with_standby(Tier.ASLEEP), engine="vllm", model="some/model")
    world = a_world(service)
    world.load(5)

    world.settle()

    specs = [engine.spec for machine in world.running() for engine in machine.engines.values()]
    assert len(specs) == 2
    assert all("--enable-sleep-mode" in spec.command for spec in specs)
    assert all(("VLLM_SERVER_DEV_MODE", "1") in spec.env for spec in specs)


def test_applies_stop_once_every_node_works_on_what_it_should() -> None:
    world = a_world(a_service())
    world.load(25)
    world.settle()

    verbs = [action.verb for _ in range(20) for action in world.tick().actions]

    assert Verb.APPLY not in verbs
