"""Schedules by command: beside those of the file, put in force until their end, whatever clocks do."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from fleet_world import START, World, a_service, scaled

from fleetctl.decide.schedules import bounds, window
from fleetctl.errors import Conflict, NotFound, UsageError
from fleetctl.model.names import ServiceName
from fleetctl.model.services import Schedule
from fleetctl.model.snapshots import Intent
from fleetctl.spec.added_schedules import addition, file_line
from fleetctl.store import SqlStore, open_store
from fleetctl.store.added_schedules import SCHEDULES_ADDED_MAX

CHAT = ServiceName("chat")
MORNING = Schedule(cron="0 8 * * *", duration_s=3600.0, min=4)
EVENING = Schedule(cron="0 20 * * *", duration_s=3600.0, max=2)
HOUR_S = 3600.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def in_force(schedule: Schedule, since: float, until: float) -> Schedule:
    return replace(schedule, since=since, until=until)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    made = open_store(str(tmp_path / "fleet.db"))
    made.put_service(a_service(schedule=(MORNING,)), revision="r1", at=START)
    yield made
    made.close()


def added(store: SqlStore) -> tuple[Schedule, ...]:
    return next(one for one in store.intents()[0] if one.service.name == CHAT).added


# what holds


def test_what_was_put_in_force_holds_until_its_end_whatever_its_cron_says() -> None:
    held = in_force(MORNING, START, START + HOUR_S)

    assert bounds((held,), START + 1).floor == 4
    assert bounds((held,), START + HOUR_S - 1).floor == 4
    assert bounds((held,), START + HOUR_S).floor is None
    assert window(held, START + 1) == (START, START + HOUR_S)


@pytest.mark.parametrize("jump_s", [-HOUR_S, -1.0, 0.0, HOUR_S / 2])
def test_clocks_that_are_set_do_not_end_it_early(jump_s: float) -> None:
    held = in_force(MORNING, START, START + HOUR_S)

    assert bounds((held,), START + jump_s).floor == 4


def test_a_jump_beyond_its_end_ends_it() -> None:
    assert bounds((in_force(MORNING, START, START + HOUR_S),), START + 2 * HOUR_S).floor is None


@pytest.mark.parametrize(
    ("moved", "floor", "why"),
    [
        ("2026-11-23T08:30:00+00:00", 4, "in its hour"),
        ("2026-11-23T07:30:00+00:00", None, "set back by an hour it has not begun, as every clock says"),
        ("2026-11-23T09:30:00+00:00", None, "set forward by an hour it is over"),
    ],
)
def test_by_its_cron_alone_a_schedule_goes_by_the_clock(moved: str, floor: int | None, why: str) -> None:
    assert bounds((MORNING,), at(moved)).floor == floor, why


@pytest.mark.parametrize(
    ("before", "after", "lasts_h"),
    [
        ("2026-03-28T23:30:00+01:00", "2026-03-29T05:00:00+02:00", 4.5),
        ("2026-10-24T23:30:00+02:00", "2026-10-25T04:00:00+01:00", 5.5),
    ],
    ids=["forward", "back"],
)
def test_on_the_days_that_clocks_change_it_lasts_by_the_clock(before: str, after: str, lasts_h: float) -> None:
    night = Schedule(
        cron="30 23 * * *", tz="Europe/Berlin", duration_s=(4.5 if "10-" in after else 5.5) * HOUR_S, min=1
    )

    found = window(night, at(before))

    assert found == (at(before), at(after))
    assert (found[1] - found[0]) / HOUR_S == lasts_h


def test_the_fleet_follows_and_lets_go() -> None:
    world = World()
    world.up(scaled(a_service(), min=0))
    world.run(120.0)
    assert world.desired() == 0
    now = world.now
    world.intents["chat"] = replace(
        world.intents["chat"], added=(in_force(Schedule(cron="0 0 1 1 *", min=3), now, now + 120.0),)
    )

    world.run(10.0)
    assert world.desired() == 3
    assert "floor 3 by" in world.decision().reason

    world.run(600.0)
    assert world.desired() == 0


def test_without_additions_an_intent_is_itself() -> None:
    intent = Intent(service=a_service(), revision="r1")

    assert intent.timetabled() is intent


# what is kept


def test_an_addition_survives_that_the_file_is_handed_in_again(store: SqlStore) -> None:
    assert store.add_schedule(CHAT, EVENING, at=START)
    assert not store.add_schedule(CHAT, EVENING, at=START + 1)

    store.put_service(a_service(schedule=(MORNING,)), revision="r2", at=START + 2)

    assert added(store) == (EVENING,)


def test_what_the_file_has_now_is_the_files(store: SqlStore) -> None:
    store.add_schedule(CHAT, EVENING, at=START)
    store.add_schedule(CHAT, in_force(EVENING, START, START + HOUR_S), at=START)

    store.put_service(a_service(schedule=(MORNING, EVENING)), revision="r2", at=START + 2)

    assert added(store) == (in_force(EVENING, START, START + HOUR_S),)


def test_what_is_in_force_goes_with_its_schedule(store: SqlStore) -> None:
    store.add_schedule(CHAT, EVENING, at=START)
    for one in (MORNING, EVENING):
        store.add_schedule(CHAT, in_force(one, START, START + HOUR_S), at=START)

    assert store.drop_schedule(CHAT, EVENING)
    assert added(store) == (in_force(MORNING, START, START + HOUR_S),)

    store.put_service(a_service(), revision="r2", at=START + 2)
    assert added(store) == ()


def test_put_in_force_twice_is_once_and_longer_is_longer(store: SqlStore) -> None:
    assert store.add_schedule(CHAT, in_force(MORNING, START, START + 10), at=START)
    assert not store.add_schedule(CHAT, in_force(MORNING, START + 1, START + 10), at=START + 1)
    assert not store.add_schedule(CHAT, in_force(MORNING, START + 1, START + 5), at=START + 1)
    assert store.add_schedule(CHAT, in_force(MORNING, START + 2, START + 20), at=START + 2)

    assert added(store) == (in_force(MORNING, START + 2, START + 20),)


def test_what_is_over_is_forgotten_with_the_next_change(store: SqlStore) -> None:
    store.add_schedule(CHAT, in_force(MORNING, START, START + 10), at=START)

    store.add_schedule(CHAT, EVENING, at=START + 11)

    assert added(store) == (EVENING,)


def test_additions_are_bounded_and_need_a_service(store: SqlStore) -> None:
    for minutes in range(SCHEDULES_ADDED_MAX):
        store.add_schedule(CHAT, Schedule(cron="0 8 * * *", duration_s=60.0 * (minutes + 1), min=1), at=START)

    with pytest.raises(Conflict, match="the most that are kept"):
        store.add_schedule(CHAT, EVENING, at=START)
    with pytest.raises(NotFound):
        store.add_schedule(ServiceName("nobody"), EVENING, at=START)
    assert not store.drop_schedule(CHAT, EVENING)


def test_a_change_of_schedules_reaches_the_controller(store: SqlStore) -> None:
    before = store.intents_version()

    store.add_schedule(CHAT, EVENING, at=START)

    assert store.intents_version() > before


# what is accepted


def test_an_addition_is_checked_as_a_file_is() -> None:
    service = scaled(a_service(schedule=(MORNING,)), max=8)

    made = addition(service, {"cron": "0 20 * * *", "for": "90m", "max": 2, "tz": "Europe/Berlin"})

    assert made.schedule == Schedule(cron="0 20 * * *", tz="Europe/Berlin", duration_s=5400.0, max=2)
    assert file_line(made.schedule) == '- {cron: "0 20 * * *", tz: Europe/Berlin, for: 90m, max: 2}'
    assert made.warnings == ()


def test_a_ceiling_below_a_floor_of_the_same_hour_is_warned_of() -> None:
    (warning,) = addition(a_service(schedule=(MORNING,)), {"cron": "30 8 * * *", "for": "1h", "max": 2}).warnings

    assert "does not hold beside the floor of 4, which wins" in warning


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"cron": "0 8 * *", "for": "1h", "min": 1}, "has 4 fields, a cron expression has 5"),
        ({"cron": "0 8 * * *", "for": "soon", "min": 1}, "for: "),
        ({"cron": "0 8 * * *", "for": "1h"}, "sets neither min nor max nor replicas"),
        ({"cron": "0 8 * * *", "for": "1h", "min": 9}, "9 is more than scaling.max, which is 8"),
        ({"cron": "0 8 * * *", "for": "1h", "replicas": 1, "max": 2}, "replicas is an exact count"),
        ({"cron": "0 8 * * *", "for": "1h", "min": 1, "tz": "Mars/Olympus"}, "tz: "),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_write(words: dict[str, str | int | None], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        addition(a_service(), words)

    assert said in refused.value.message
    assert refused.value.hint
