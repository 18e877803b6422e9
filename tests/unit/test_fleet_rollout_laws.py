"""Laws of rollouts over histories in which revisions come, break, are paused and taken back, while load moves."""

from dataclasses import dataclass, replace

from fleet_world import NO_STANDBY, World, a_service, check_laws, scaled
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fleet_rollouts import CHAT, ended, gate, of, rollout

from fleetctl.decide.planner import plan
from fleetctl.model.decisions import Plan
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.model.rollouts import RolloutState
from fleetctl.model.services import RolloutRules, Service, Standby, Tier
from fleetctl.model.snapshots import Snapshot

EXAMPLES = 30
"""Histories per law: some ten seconds of one core for all of them together."""
LIMIT_S = 3000.0
"""A whole fleet of five, one after another, each with a cold start, a settling and a drain; and pauses between tries of
an engine that was broken, of at most 600 s."""


@dataclass(frozen=True, slots=True)
class Happening:
    what: str
    pick: int
    wait_s: float


WHATS = (
    "load",
    "revision",
    "revision",
    "broken",
    "frail",
    "hanging",
    "mended",
    "pause",
    "resume",
    "undo",
    "by hand",
    "by policy",
    "restart",
)

stories = st.lists(
    st.builds(
        Happening,
        what=st.sampled_from(WHATS),
        pick=st.integers(0, 7),
        wait_s=st.sampled_from((0.0, 2.0, 10.0, 30.0, 60.0, 120.0)),
    ),
    max_size=16,
)
rules = st.builds(
    RolloutRules,
    surge=st.sampled_from((None, 1, 3)),
    settle_s=st.sampled_from((0.0, 10.0)),
    failures=st.integers(1, 3),
    deadline_s=st.sampled_from((None, 40.0)),
)
standbys = st.sampled_from((NO_STANDBY, Standby(tier=Tier.HOT, slots=1), Standby(tier=Tier.ASLEEP, slots=1)))


def freeze(snapshot: Snapshot, made: Plan, world: World) -> None:
    """While it is paused, no revision takes over from another."""
    row = world.rollouts.get(CHAT)
    before = snapshot.rollouts.get(CHAT)
    if row is None or before is None or row.state is not RolloutState.PAUSED or before.to_revision != row.to_revision:
        return
    assert not [event for event in made.events if "takes over" in event.message]
    if before.state is RolloutState.PAUSED and not row.proven and row.from_revision:
        new = [one for one in made.replicas if one.id not in snapshot.replicas and one.role is Role.SERVING]
        assert {one.revision for one in new} <= {row.from_revision}, world.describe()


def at_rest(world: World) -> bool:
    """Whether no Rollout is under way, and all that is there serves or stands by as it should."""
    settled = all(one.phase in (ReplicaPhase.READY, ReplicaPhase.ASLEEP) for one in world.replicas.values())
    holds = world.intents[CHAT].in_force(rollout(world)).revision
    alike = {one.revision for one in world.replicas.values()} <= {holds}
    return settled and alike and not rollout(world).open and not world.in_role(Role.DRAINING)


def same_again(snapshot: Snapshot, made: Plan, world: World) -> None:
    assert plan(snapshot) == made


def a_world(service: Service, *, request_s: float) -> World:
    world = World(service, request_s=request_s)
    world.checks += [check_laws, gate, freeze]
    world.load(25)
    world.run(120.0)
    return world


def happen(world: World, one: Happening) -> None:
    intent = world.intents[CHAT]
    revision = f"r{one.pick % 4 + 1}"
    match one.what:
        case "load":
            world.load(one.pick * 7)
        case "revision":
            world.up(intent.service, revision=revision)
        case "broken":
            world.broken.add((CHAT, revision))
        case "frail":
            world.frail.add((CHAT, revision))
        case "hanging":
            world.hanging.add((CHAT, revision))
        case "mended":
            world.faults_stop()
        case "pause":
            world.pause()
        case "resume":
            world.pause(paused=False)
        case "undo" if len(intent.revisions) > 1:
            world.undo(intent.revisions[one.pick % (len(intent.revisions) - 1)].name)
        case "by hand":
            world.override("chat", one.pick % 5)
        case "by policy":
            world.override("chat", None)
        case "restart":
            world.restart_controller(calls_arrived=one.pick % 2 == 0)
        case _:
            pass
    world.run(one.wait_s)


@settings(max_examples=EXAMPLES, deadline=None)
@given(story=stories, rules=rules, standby=standbys, request_s=st.sampled_from((4.0, 40.0)))
def test_capacity_is_kept_the_surge_holds_and_in_the_end_one_revision_serves(
    story: list[Happening], rules: RolloutRules, standby: Standby, request_s: float
) -> None:
    service = scaled(a_service(rollout=rules, standby=standby, drain_timeout_s=600.0), min=1, max=5)
    world = a_world(service, request_s=request_s)

    world.checks.append(same_again)
    for one in story:
        happen(world, one)  # every tick is checked by the laws
    world.checks.remove(same_again)
    world.faults_stop()
    world.pause(paused=False)
    world.override("chat", None)
    world.load(25)
    world.run(60.0)
    world.until(lambda: at_rest(world), limit_s=LIMIT_S)
    world.run(30.0)

    holds = world.intents[CHAT].in_force(rollout(world))
    assert {one.revision for one in world.replicas.values()} == {holds.revision}, world.describe()
    assert len(world.ready()) == len(world.serving()) == world.desired() >= 3, world.describe()
    assert not rollout(world).open, world.describe()
    if rollout(world).state is not RolloutState.ABORTED:
        assert holds.revision == world.intents[CHAT].revision


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    fault=st.sampled_from(("broken", "frail", "hanging")),
    after_s=st.sampled_from((0.0, 0.0, 40.0, 60.0, 80.0, 120.0)),
    rules=rules,
    load=st.integers(5, 45),
)
def test_whenever_a_revision_breaks_the_fleet_serves_in_full_again_and_stays_so(
    fault: str, after_s: float, rules: RolloutRules, load: int
) -> None:
    service = scaled(a_service(rollout=replace(rules, deadline_s=60.0)), min=1, max=5)
    world = a_world(service, request_s=4.0)
    world.load(load)
    world.settle()
    world.run(60.0)

    world.up(service, revision="r2")
    world.run(after_s)
    getattr(world, fault).add((CHAT, "r2"))
    world.until(lambda: at_rest(world) or (fault == "frail" and ended(world)), limit_s=LIMIT_S)
    world.run(60.0)

    row = rollout(world)
    if row.state is RolloutState.ABORTED:
        assert of(world, "r1") == world.desired()
        assert len(world.ready()) == world.desired(), world.describe()
        assert {one.revision for one in world.replicas.values()} == {"r1"}
        assert world.decision().trouble.startswith("the rollout of r2 was given up")
    else:
        assert of(world, "r2") == len(world.serving())  # it broke when all of it was there


@settings(max_examples=EXAMPLES, deadline=None)
@given(at_s=st.integers(0, 200).map(lambda half: half * 2.0), standby=standbys, request_s=st.sampled_from((4.0, 200.0)))
def test_an_undo_at_any_moment_brings_the_old_revision_back_without_a_lower_capacity(
    at_s: float, standby: Standby, request_s: float
) -> None:
    service = scaled(a_service(standby=standby, drain_timeout_s=600.0), min=1, max=5)
    world = a_world(service, request_s=request_s)
    world.up(service, revision="r2")
    world.run(at_s)
    ready = len(world.ready())

    def never_less(snapshot: Snapshot, made: Plan, world: World) -> None:
        assert len(world.ready()) >= min(ready, 3), world.describe()

    world.checks.append(never_less)
    world.undo("r1")
    world.tick()
    world.until(lambda: at_rest(world), limit_s=LIMIT_S)

    serving = [one for one in world.serving() if one.phase is ReplicaPhase.READY]
    assert {one.revision for one in world.replicas.values()} == {"r1"}
    assert len(serving) == world.desired()
    assert rollout(world).state in (RolloutState.UNDONE, RolloutState.DONE)
