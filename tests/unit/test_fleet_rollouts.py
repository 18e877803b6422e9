"""Rollouts told tick by tick in virtual time: surge, health gates, pause, undo, giving up."""

from dataclasses import replace

import pytest
from fleet_world import START, World, a_service, check_laws, scaled

from fleetctl.controller.journal import Stretches, entry, read
from fleetctl.controller.replay import replayed
from fleetctl.decide.rollout import DEMAND_HOLD_S
from fleetctl.model.decisions import Plan, Verb
from fleetctl.model.names import ServiceName
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.model.rollouts import Rollout, RolloutState
from fleetctl.model.services import RolloutRules, Service, Standby, Tier
from fleetctl.model.snapshots import Snapshot

CHAT = ServiceName("chat")
SETTLE_S = RolloutRules().settle_s


def gate(snapshot: Snapshot, made: Plan, world: World) -> None:
    """No tick takes what is usable below both what it found and what it decided, nor adds beyond the surge."""
    for decision in made.decisions:
        name = decision.service
        before = [one for one in snapshot.replicas.values() if one.service == name and one.role is Role.SERVING]
        usable = sum(1 for one in before if world.answers(one))
        assert len(world.ready(name)) >= min(usable, decision.desired), world.describe()
        surge = snapshot_surge(snapshot, name)
        assert len(world.serving(name)) <= max(len(before), decision.desired + surge), world.describe()
    assert world.cut == 0, world.describe()


def snapshot_surge(snapshot: Snapshot, name: ServiceName) -> int:
    service = next(intent.service for intent in snapshot.intents if intent.service.name == name)
    return service.rollout.surge or service.scaling.step


def a_world(service: Service, *, load: int = 35, **settings: object) -> World:
    """A world whose Service runs r1, settled, under a load; every tick is checked."""
    world = World(service, **settings)  # type: ignore[arg-type]
    world.checks += [check_laws, gate]
    world.load(load)
    world.settle()
    world.run(2 * SETTLE_S)
    return world


def rollout(world: World) -> Rollout:
    return world.rollouts[CHAT]


def of(world: World, revision: str) -> int:
    """Serving Replicas of the revision."""
    return sum(1 for one in world.serving() if one.revision == revision)


def ended(world: World) -> bool:
    """Whether the Rollout to what is declared now is over."""
    return rollout(world).to_revision == world.intents[CHAT].revision and not rollout(world).open


# through


def test_a_new_replica_counts_only_after_it_was_ready_for_a_while() -> None:
    world = a_world(a_service())

    world.up(a_service(), revision="r2")
    world.until(lambda: any(one.revision == "r2" for one in world.ready()))
    ready_at = world.now
    world.until(lambda: bool(world.in_role(Role.DRAINING)))
    waited_s = world.now - ready_at

    assert SETTLE_S - world.period_s <= waited_s <= SETTLE_S + 2 * world.period_s


def test_each_step_of_a_rollout_is_told() -> None:
    world = a_world(a_service())

    world.up(a_service(), revision="r2")
    world.until(lambda: bool(world.in_role(Role.DRAINING)))
    explained = [note.note for note in world.decision().stages if note.stage == "rollout"]
    world.until(lambda: ended(world), limit_s=900.0)

    assert rollout(world).state is RolloutState.DONE
    assert explained == ["rollout r1 → r2: 0 of 4 count, 1 on their way, 4 old serve"]
    told = [event.message for event in world.events if event.subject == "service/chat" and event.kind == "rollout"]
    assert [text.split(":")[0] for text in told][:2] == ["rollout of r2 begins", "r2 works"]
    assert told[-1].startswith("rollout of r2 done after ")
    assert len(world.said("revision r2 takes over from r1")) == 4
    world.run(20.0)
    assert not [note for note in world.decision().stages if note.stage == "rollout"]


@pytest.mark.parametrize("surge", [1, 2, 4])
def test_a_larger_surge_takes_more_machines_and_less_time(surge: int) -> None:
    service = a_service(rollout=RolloutRules(surge=surge))
    world = a_world(service)
    most = 0

    def count(snapshot: Snapshot, made: Plan, world: World) -> None:
        nonlocal most
        most = max(most, sum(1 for one in world.replicas.values() if one.role in (Role.SERVING, Role.DRAINING)))

    world.checks.append(count)
    world.up(service, revision="r2")
    took_s = world.until(lambda: ended(world), limit_s=900.0)

    assert most == 4 + surge
    assert took_s < (4 / surge) * 60.0


def test_hot_standby_follows_after_what_serves() -> None:
    service = a_service(standby=Standby(tier=Tier.HOT, slots=1))
    world = a_world(service)
    assert [one.revision for one in world.in_role(Role.HOT, ReplicaPhase.READY)] == ["r1"]

    world.up(service, revision="r2")
    while not ended(world):
        world.tick()
        assert [one.revision for one in world.in_role(Role.HOT)] in (["r1"], []) or ended(world)
    world.settle()

    assert [one.revision for one in world.in_role(Role.HOT)] == ["r2"]


def test_old_replicas_are_told_and_asked_as_what_they_are() -> None:
    world = a_world(a_service(concurrency=10, args=("--old",)))

    world.up(a_service(concurrency=5, args=("--new",)), revision="r2")
    world.until(lambda: any(one.revision == "r2" for one in world.ready()))
    world.restart_controller(calls_arrived=True)  # another fence: every Node is told everything anew
    made = world.tick()

    assert world.routes is not None
    revisions = {one.id: one.revision for one in world.replicas.values()}
    slots = {(revisions[one.replica], one.slots) for route in world.routes.routes for one in route.upstreams}
    assert slots == {("r1", 10), ("r2", 5)}
    specs = [spec for action in made.actions if action.desired is not None for spec in action.desired.replicas]
    assert {(spec.revision, "--old" in spec.command, spec.concurrency) for spec in specs} == {
        ("r1", True, 10),
        ("r2", False, 5),
    }
    assert {action.verb for action in made.actions} == {Verb.APPLY}


def test_a_rollout_at_zero_is_proven_by_one_replica_and_goes_back_to_zero() -> None:
    world = a_world(a_service(), load=0)
    world.until(lambda: not world.running())

    world.up(a_service(), revision="r2")
    world.until(lambda: rollout(world).to_revision == "r2" and ended(world))
    world.until(lambda: not world.running())

    assert rollout(world).proven
    assert rollout(world).state is RolloutState.DONE


# scaling in the midst of it


def test_a_scale_down_takes_old_ones_first() -> None:
    world = a_world(scaled(a_service(), min=1), load=0)
    world.override("chat", 5)
    world.until(lambda: len(world.ready()) == 5)
    world.run(2 * SETTLE_S)
    world.up(world.intents[CHAT].service, revision="r2")
    world.until(lambda: of(world, "r2") == 2)

    world.override("chat", 2)
    world.until(lambda: ended(world), limit_s=900.0)

    assert of(world, "r2") == 2
    assert not [event for event in world.said("fewer are wanted") if event.at > START + 100 and "r2" in event.message]
    assert sum(1 for one in world.launched if one) <= 1 + 5 + 2


def test_load_that_grows_before_the_new_revision_works_is_met_by_the_old_one() -> None:
    world = a_world(a_service())
    world.hanging.add((CHAT, "r2"))
    world.up(a_service(), revision="r2")
    world.until(lambda: of(world, "r2") == 1)

    world.load(60)
    world.until(lambda: len(world.ready()) == 6, limit_s=120.0)

    assert of(world, "r1") == 6
    assert of(world, "r2") == 1


def test_load_that_grows_after_it_works_is_met_by_the_new_one() -> None:
    world = a_world(a_service())
    world.up(a_service(), revision="r2")
    world.until(lambda: of(world, "r2") == 1 and rollout(world).proven)
    old = of(world, "r1")

    world.load(70)
    world.until(lambda: len(world.ready()) >= 7, limit_s=200.0)

    assert of(world, "r1") <= old
    assert of(world, "r2") >= 3


def test_old_ones_stay_while_more_is_in_flight_than_what_is_wanted_can_serve() -> None:
    world = a_world(a_service(rollout=RolloutRules(surge=4)))
    world.up(world.intents[CHAT].service, revision="r2")
    world.until(lambda: len([one for one in world.ready() if one.revision == "r2"]) == 4, limit_s=200.0)

    world.load(80)  # twice what four can serve: the window's average has yet to follow
    while not world.in_role(Role.DRAINING):
        world.tick()
        assert world.now - START < 2000.0

    assert world.desired() >= 8
    assert DEMAND_HOLD_S > 60.0


# paused


def test_paused_nothing_moves_but_scaling_does_and_it_goes_on_when_told() -> None:
    world = a_world(a_service())
    world.up(a_service(), revision="r2")
    world.until(lambda: of(world, "r1") == 3)

    world.pause()
    world.run(60.0)
    stood = (of(world, "r1"), of(world, "r2"))
    world.run(300.0)
    still = (of(world, "r1"), of(world, "r2"))
    world.load(60)
    world.until(lambda: len(world.ready()) >= 6, limit_s=200.0)
    world.run(60.0)
    grown = (of(world, "r1"), of(world, "r2"))
    world.load(25)
    world.until(lambda: len(world.serving()) <= 4, limit_s=200.0)
    world.run(30.0)
    shrunk = (of(world, "r1"), of(world, "r2"))
    explained = [note.note for note in world.decision().stages if note.stage == "rollout"]
    world.pause(paused=False)
    world.until(lambda: ended(world), limit_s=900.0)

    assert still == stood
    assert grown == (stood[0], 6 - stood[0])  # the new revision is proven: what is added is of it
    assert shrunk[1] == grown[1]
    assert shrunk[0] < stood[0]  # the old ones went first
    assert "paused, go on with: fleetctl rollout resume chat" in explained[0]
    assert of(world, "r2") == len(world.serving())


def test_paused_before_it_works_additions_are_of_the_old_revision() -> None:
    world = a_world(a_service())
    world.pause()
    world.up(a_service(), revision="r2")
    world.run(60.0)
    assert of(world, "r2") == 0

    world.load(60)
    world.until(lambda: len(world.ready()) == 6, limit_s=200.0)

    assert of(world, "r1") == 6
    assert rollout(world).state is RolloutState.PAUSED


# back


def test_undo_takes_back_what_still_drains_and_starts_nothing() -> None:
    world = a_world(a_service(drain_timeout_s=600.0), request_s=300.0)
    world.up(world.intents[CHAT].service, revision="r2")
    world.until(lambda: len(world.in_role(Role.DRAINING)) == 1)
    launched = len(world.launched)

    world.undo("r1")
    world.tick()

    assert of(world, "r1") == 4
    assert not [one for one in world.in_role(Role.DRAINING) if one.revision == "r1"]
    world.until(lambda: ended(world), limit_s=60.0)
    assert rollout(world).state is RolloutState.UNDONE
    assert of(world, "r2") == 0
    assert len(world.launched) == launched


def test_a_rollout_that_is_done_is_undone_by_another_one_the_other_way() -> None:
    world = a_world(a_service())
    world.up(a_service(), revision="r2")
    world.until(lambda: rollout(world).state is RolloutState.DONE and of(world, "r2") == 4, limit_s=900.0)

    world.undo("r1")
    world.tick()
    world.until(lambda: ended(world), limit_s=900.0)

    assert (rollout(world).from_revision, rollout(world).to_revision) == ("r2", "r1")
    assert of(world, "r1") == 4


def test_a_third_revision_replaces_the_middle_one_first() -> None:
    world = a_world(a_service())
    world.up(a_service(), revision="r2")
    world.until(lambda: of(world, "r1") == 2, limit_s=400.0)

    world.up(a_service(), revision="r3")
    world.tick()
    assert rollout(world).from_revision == "r1"
    seen: list[tuple[int, int]] = []
    while not ended(world):
        world.tick()
        seen.append((of(world, "r1"), of(world, "r2")))

    assert all(first == 2 for first, middle in seen if middle), seen
    assert of(world, "r3") == 4


# given up


@pytest.mark.parametrize(
    ("fault", "rules", "why"),
    [
        ("broken", RolloutRules(), "3 of its replicas in a row failed, the last on "),
        ("broken", RolloutRules(failures=1), "1 of its replicas in a row failed, the last on "),
        ("frail", RolloutRules(), "3 of its replicas in a row failed, the last on "),
        ("hanging", RolloutRules(deadline_s=60.0), "none of its replicas got ready within 60 s"),
    ],
)
def test_a_revision_that_does_not_get_ready_is_given_up_and_the_old_one_serves_in_full(
    fault: str, rules: RolloutRules, why: str
) -> None:
    service = a_service(rollout=rules)
    world = a_world(service)
    getattr(world, fault).add((CHAT, "r2"))
    serving = {one.id for one in world.serving()}

    world.up(service, revision="r2")
    world.until(lambda: rollout(world).state is RolloutState.ABORTED, limit_s=400.0)
    world.settle()
    world.run(600.0)

    assert {one.id for one in world.serving()} == serving
    assert {one.revision for one in world.replicas.values()} == {"r1"}
    assert why in rollout(world).reason
    trouble = world.decision().trouble
    assert "fleetctl up chat" in trouble
    assert "fleetctl rollout undo chat" in trouble
    assert len(world.said("was given up")) == 1

    world.undo("r1")
    world.run(20.0)

    assert rollout(world).state is RolloutState.UNDONE
    assert world.decision().trouble == ""
    assert {one.id for one in world.serving()} == serving


def test_a_revision_that_breaks_halfway_is_replaced_by_the_old_one() -> None:
    world = a_world(a_service())
    world.up(a_service(), revision="r2")
    world.until(lambda: of(world, "r1") == 2, limit_s=400.0)
    world.broken.add((CHAT, "r2"))

    world.until(lambda: rollout(world).state is RolloutState.ABORTED, limit_s=400.0)
    world.until(lambda: of(world, "r1") == 4 and of(world, "r2") == 0, limit_s=900.0)

    assert len(world.ready()) == 4


def test_a_revision_that_works_for_a_while_and_dies_again_and_again_is_given_up() -> None:
    service = a_service(rollout=RolloutRules(settle_s=0.0))
    world = a_world(service)
    world.frail.add((CHAT, "r2"))

    world.up(service, revision="r2")
    world.until(lambda: rollout(world).state is RolloutState.ABORTED, limit_s=400.0)
    world.until(lambda: of(world, "r1") == len(world.ready()) == 4, limit_s=200.0)

    assert rollout(world).proven
    assert of(world, "r2") == 0


def test_a_revision_that_was_given_up_is_tried_again_when_it_is_handed_in_again() -> None:
    world = a_world(a_service())
    world.broken.add((CHAT, "r2"))
    world.up(a_service(), revision="r2")
    world.until(lambda: rollout(world).state is RolloutState.ABORTED, limit_s=400.0)
    world.broken.clear()
    world.override("chat", 4)  # an intent too, but none about the revision
    world.run(200.0)
    assert of(world, "r2") == 0

    world.up(a_service(), revision="r2")
    world.until(lambda: of(world, "r2") == 4 and ended(world), limit_s=900.0)

    assert rollout(world).state is RolloutState.DONE


def test_a_first_revision_that_never_worked_is_simply_replaced() -> None:
    world = World(a_service())
    world.checks.append(check_laws)
    world.broken.add((CHAT, "r1"))
    world.load(35)
    world.run(100.0)

    world.up(a_service(), revision="r2")
    took_s = world.until(lambda: len(world.ready()) == 4, limit_s=200.0)

    assert took_s < 100.0
    assert rollout(world).from_revision == ""


def test_a_revision_without_a_replica_at_its_first_hour_is_still_on_trial() -> None:
    """Rolled out at zero, nothing was started: its first start, whenever that is, decides."""
    world = a_world(a_service())
    world.override("chat", 0)
    world.until(lambda: not world.running())
    world.broken.add((CHAT, "r2"))
    world.up(a_service(), revision="r2")
    world.run(60.0)
    assert rollout(world).state is RolloutState.DONE

    world.override("chat", None)
    world.until(lambda: rollout(world).state is RolloutState.ABORTED, limit_s=400.0)
    world.until(lambda: len(world.ready()) == 4, limit_s=200.0)

    assert of(world, "r1") == 4


@pytest.mark.parametrize("way", ["at zero", "down"])
def test_time_in_which_nothing_was_wanted_is_no_time_of_trial(way: str) -> None:
    """In the midst of its first start all is taken away; much later it is wanted again, and has its whole deadline."""
    service = a_service(rollout=RolloutRules(deadline_s=100.0))
    world = a_world(service, load=5)
    world.up(service, revision="r2")
    world.until(lambda: rollout(world).tried_at is not None)
    world.load(0)
    if way == "down":
        world.down("chat")
    else:
        world.override("chat", 0)
    world.until(lambda: not world.replicas)
    world.run(300.0)

    world.load(5)
    world.override("chat", None)
    world.intents[CHAT] = replace(world.intents[CHAT], up=True, changed_at=world.now)
    world.until(lambda: of(world, "r2") == 1 and len(world.ready()) == 1)
    world.run(2 * SETTLE_S)

    assert (rollout(world).state, rollout(world).proven) == (RolloutState.DONE, True)


def test_one_whose_node_falls_silent_as_soon_as_it_is_ready_does_not_count() -> None:
    """A revision that takes its whole machine down at its first requests is unknown, and takes over from nothing."""
    world = a_world(a_service())
    world.up(a_service(), revision="r2")
    world.until(lambda: any(one.revision == "r2" for one in world.ready()))
    world.tick()
    (first,) = [one for one in world.serving() if one.revision == "r2"]
    assert first.instance is not None and first.phase is ReplicaPhase.READY

    world.silent.add(first.instance)
    world.run(60.0)

    assert of(world, "r1") == 4 and not world.in_role(Role.DRAINING)
    assert not rollout(world).proven

    world.silent.clear()
    world.until(lambda: ended(world), limit_s=900.0)
    assert rollout(world).state is RolloutState.DONE


@pytest.mark.parametrize("silent", [False, True], ids=["heard at once", "silent at first"])
def test_a_controller_that_was_away_beyond_the_deadline_looks_before_it_gives_up(silent: bool) -> None:
    service = a_service(rollout=RolloutRules(deadline_s=300.0))
    world = a_world(service)
    world.up(service, revision="r2")
    world.until(lambda: rollout(world).tried_at is not None)
    world.run(4.0)

    world.now += 3600.0  # no controller ran, and the new engine became ready meanwhile
    if silent:
        world.silent.update(one.instance for one in world.serving() if one.revision == "r2" and one.instance)
        world.run(4.0)
        world.silent.clear()
    world.until(lambda: ended(world), limit_s=900.0)

    assert rollout(world).state is RolloutState.DONE


# restarts


def test_the_journal_of_a_rollout_that_is_given_up_can_be_played_again() -> None:
    """What a Decision was made from changes in the midst of it: to the revision before."""
    world = a_world(a_service(concurrency=10))
    stretches, entries = Stretches(), list[bytes]()
    world.checks.append(lambda snapshot, made, world: entries.append(entry(snapshot, made, stretches)))
    world.broken.add((CHAT, "r2"))

    world.up(a_service(concurrency=5), revision="r2")
    world.until(lambda: rollout(world).state is RolloutState.ABORTED, limit_s=400.0)
    world.run(60.0)

    again = list(replayed(read(one) for one in entries))
    assert len(again) == len(entries)
    assert [one for one in again if not one.same] == []
    assert {one.intent.service.concurrency for one in again} == {5, 10}


def test_a_controller_that_is_restarted_at_every_tick_goes_on_with_it() -> None:
    world = a_world(a_service(), call_s=0.0)

    world.up(a_service(), revision="r2")
    for number in range(600):
        world.restart_controller(calls_arrived=number % 2 == 0)
        world.tick()
        if of(world, "r2") == 4 and ended(world):
            break

    assert rollout(world).state is RolloutState.DONE
    assert len(world.ready()) == 4


def test_a_lost_store_ends_no_replica_before_the_new_ones_count() -> None:
    world = a_world(a_service())
    world.up(replace(a_service()), revision="r2")
    world.until(lambda: of(world, "r1") == 2, limit_s=400.0)

    world.lose_store()
    world.until(lambda: len(world.ready()) >= 4)
    assert of(world, "r1") >= 2  # what drained serves again
    world.until(lambda: ended(world), limit_s=900.0)

    assert of(world, "r2") == len(world.ready()) == 4
