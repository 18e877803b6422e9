"""The journal played again says the same, bit for bit; and what would have been without what held a count."""

from dataclasses import replace

import msgspec
import pytest
from fleet_world import NO_STANDBY, World, a_service, scaled

from fleetctl.controller.journal import STRETCH_TICKS, Entry, Stretches, entry, read
from fleetctl.controller.replay import Replayed, replayed
from fleetctl.decide.counterfactuals import counterfactuals
from fleetctl.model.decisions import Inputs, Memory, Plan
from fleetctl.model.services import Behavior, RatePolicy, Schedule
from fleetctl.model.signals import Load
from fleetctl.model.snapshots import Intent, Override, Snapshot

NOON = 1_773_144_000.0
"""2026-03-10 12:00:00 UTC, a Tuesday."""


def journal_of(world: World) -> list[bytes]:
    """Every tick of the world from now on, as the store keeps it."""
    stretches, kept = Stretches(), []

    def keep(snapshot: Snapshot, made: Plan, _: World) -> None:
        kept.append(entry(snapshot, made, stretches))

    world.checks.append(keep)
    return kept


def again(kept: list[bytes]) -> list[Replayed]:
    return list(replayed([read(body) for body in kept]))


def restless_world() -> list[bytes]:
    """A burst, silence, a count by hand, a changed file, failed starts: more than one stretch of ticks."""
    service = scaled(a_service(standby=NO_STANDBY), min=1, max=6, policy="auto", tolerance=0.0)
    world = World(service)
    kept = journal_of(world)
    for load in (0, 15, 40, 3, 0):
        world.load(load)
        world.run(120.0)
    world.override(service.name, 2)
    world.run(60.0)
    return kept


def test_every_recorded_decision_is_made_again_bit_for_bit() -> None:
    kept = restless_world()

    played = again(kept)

    assert len(played) == len(kept) > 2 * STRETCH_TICKS
    assert all(one.same for one in played)
    assert [msgspec.json.encode(one.recorded) for one in played] == [msgspec.json.encode(one.again) for one in played]
    assert len({one.recorded.desired for one in played}) > 2


def test_a_journal_that_lost_its_beginning_is_played_from_the_next_stretch_on() -> None:
    kept = restless_world()

    played = again(kept[1:])

    assert 0 < len(played) < len(kept) - 1
    assert all(one.same for one in played)


def test_another_memory_would_not_say_the_same() -> None:
    entries = [read(body) for body in restless_world()]
    first = next(one for one in entries[1:] if one.begin is not None)
    assert first.begin is not None
    forgetful: Entry = replace(
        first, begin=replace(first.begin, memories=tuple((name, Memory()) for name, _ in first.begin.memories))
    )

    played = list(replayed([forgetful, *[one for one in entries if one.at > first.at]]))

    assert not all(one.same for one in played)


@pytest.mark.parametrize(
    ("change", "without", "desired"),
    [
        pytest.param({}, "max 4", 9, id="max"),
        pytest.param({"override": Override(replicas=2)}, "the count set by hand", 4, id="by hand"),
        pytest.param({"behavior": True}, "behavior", 4, id="behavior"),
        pytest.param({"schedule": True}, "the schedule", 4, id="schedule"),
    ],
)
def test_what_held_the_count_is_named_with_what_it_would_have_been(
    change: dict[str, object], without: str, desired: int
) -> None:
    service = scaled(a_service(), max=4, target=1.0, tolerance=0.0, policy="target_concurrency")
    if change.get("behavior"):
        slow = Behavior(policies=(RatePolicy(kind="replicas", value=1, period_s=60.0),))
        service = scaled(service, up=slow)
    if change.get("schedule"):
        service = replace(service, schedule=(Schedule(cron="0 0 * * *", duration_s=86_400.0, max=1),))
    override = change.get("override")
    assert override is None or isinstance(override, Override)
    intent = Intent(service=service, revision="r1", override=override)
    load = Load(low=9.0 * service.concurrency, high=9.0 * service.concurrency, queued=0, oldest_wait_s=0.0, unknown=0)
    inputs = Inputs(at=NOON, load=load, current=1, ready=1)

    found = {one.without: one.desired for one in counterfactuals(intent, inputs, Memory())}

    assert found[without] == desired
