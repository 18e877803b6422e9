"""What `schedule next` says: every turn with its clocks, its winner, its price and what changed clocks do to it."""

from dataclasses import replace
from datetime import datetime

import pytest
from fleet_world import a_service, scaled

from fleetctl.decide.standing import own_pool
from fleetctl.model.services import Schedule
from fleetctl.model.snapshots import Intent, Override, State
from fleetctl.views.fleet import FleetView, view_of
from fleetctl.views.timetables import chosen, entries, name_of, turns

BERLIN = "Europe/Berlin"
MORNING = Schedule(cron="0 8 * * mon-fri", tz=BERLIN, duration_s=36_000.0, min=4)
NIGHT = Schedule(cron="0 20 * * *", tz=BERLIN, duration_s=7200.0, max=1)


def a_view(now: str, *schedules: Schedule, added: tuple[Schedule, ...] = (), **changes: object) -> FleetView:
    """One Service that was never decided over, on machines of $2 an hour with one GPU each."""
    service = scaled(a_service(schedule=schedules), max=8)
    intent = replace(Intent(service=service, revision="r1", added=added), **changes)  # type: ignore[arg-type]
    pool = replace(own_pool(service), price_per_hour=2.0)
    return view_of(
        ((intent,), (pool,)),
        State(instances={}, replicas={}, memories={}, counters={}),
        {},
        None,
        listen="127.0.0.1:1",
        now=datetime.fromisoformat(now).timestamp(),
    )


def test_turns_come_in_order_with_both_clocks_and_what_they_cost() -> None:
    found = turns(a_view("2026-11-20T12:00:00+01:00", MORNING, NIGHT), 5)

    assert [(one.clock, one.utc, one.what, one.before, one.after) for one in found] == [
        ("Fri 2026-11-20 18:00 CET", "Fri 2026-11-20 17:00 UTC", ("floor 4 ends",), 4, 0),
        ("Fri 2026-11-20 20:00 CET", "Fri 2026-11-20 19:00 UTC", ("ceiling 1 begins",), 0, 0),
        ("Fri 2026-11-20 22:00 CET", "Fri 2026-11-20 21:00 UTC", ("ceiling 1 ends",), 0, 0),
        ("Sat 2026-11-21 20:00 CET", "Sat 2026-11-21 19:00 UTC", ("ceiling 1 begins",), 0, 0),
        ("Sat 2026-11-21 22:00 CET", "Sat 2026-11-21 21:00 UTC", ("ceiling 1 ends",), 0, 0),
    ]
    assert [one.price_change_per_hour for one in found] == [-8.0, 0.0, 0.0, 0.0, 0.0]


def test_the_winner_is_named() -> None:
    higher = replace(MORNING, cron="0 9 * * mon-fri", min=6, duration_s=3600.0)

    found = turns(a_view("2026-11-20T08:30:00+01:00", MORNING, higher), 2)

    assert [(one.wins, one.before, one.after) for one in found] == [
        (f'"0 9 * * mon-fri" {BERLIN}', 4, 6),
        (f'"0 8 * * mon-fri" {BERLIN}', 6, 4),
    ]


def test_what_ends_as_another_begins_is_one_turn() -> None:
    late = replace(MORNING, cron="0 18 * * mon-fri", min=2, duration_s=3600.0)

    first = turns(a_view("2026-11-20T12:00:00+01:00", MORNING, late), 1)[0]

    assert first.what == ("floor 4 ends", "floor 2 begins")
    assert (first.before, first.after, first.price_change_per_hour) == (4, 2, -4.0)


@pytest.mark.parametrize(
    ("now", "cron", "note"),
    [
        (
            "2026-03-28T12:00:00+01:00",
            "30 2 * * *",
            "its hour is skipped that day, so it begins when that hour is over",
        ),
        ("2026-10-24T12:00:00+02:00", "30 2 * * *", "this hour comes twice that day; it begins the first time"),
        ("2026-03-28T12:00:00+01:00", "0 1 * * *", "the clocks change while it holds, so it lasts 2 h"),
        ("2026-10-24T12:00:00+02:00", "0 1 * * *", "the clocks change while it holds, so it lasts 4 h"),
        ("2026-03-28T12:00:00+01:00", "0 8 * * *", f"clocks in {BERLIN} have gone forward by 1 h until then"),
        ("2026-10-24T12:00:00+02:00", "0 8 * * *", f"clocks in {BERLIN} have gone back by 1 h until then"),
    ],
)
def test_days_on_which_clocks_change_are_told(now: str, cron: str, note: str) -> None:
    schedule = Schedule(cron=cron, tz=BERLIN, duration_s=3 * 3600.0, min=2)

    begins = next(one for one in turns(a_view(now, schedule), 4) if "begins" in one.what[0])

    assert note in begins.notes


def test_an_ordinary_day_has_no_notes() -> None:
    assert all(one.notes == () for one in turns(a_view("2026-11-20T12:00:00+01:00", MORNING, NIGHT), 20))


def test_a_count_set_by_hand_wins_and_is_told() -> None:
    override = Override(replicas=3, until=None)

    first = turns(a_view("2026-11-20T12:00:00+01:00", MORNING, override=override), 1)[0]

    assert (first.before, first.after) == (3, 3)
    assert "set by hand to 3, which wins" in first.notes


def test_of_a_service_that_is_down_nothing_turns() -> None:
    assert turns(a_view("2026-11-20T12:00:00+01:00", MORNING, up=False), 5) == []


def test_entries_say_where_each_comes_from_and_what_it_does_now() -> None:
    now = datetime.fromisoformat("2026-11-20T12:00:00+01:00").timestamp()
    held = replace(NIGHT, since=now - 10, until=now + 50)
    over = replace(MORNING, since=now - 100, until=now - 50)

    found = entries(a_view("2026-11-20T12:00:00+01:00", MORNING, added=(NIGHT, held, over)))

    assert [(one.number, one.origin) for one in found] == [(1, "file"), (2, "command"), (3, "run")]
    assert found[0].holds_until == datetime.fromisoformat("2026-11-20T18:00:00+01:00").timestamp()
    assert (found[1].holds_until, found[2].holds_until) == (None, now + 50)
    assert found[2].next_at is None


def test_a_name_stays_when_others_come_and_go() -> None:
    every = entries(a_view("2026-11-20T12:00:00+01:00", MORNING, NIGHT))
    fewer = entries(a_view("2026-11-20T12:00:00+01:00", NIGHT))

    assert every[1].name == fewer[0].name == name_of("chat", NIGHT)
    assert chosen(every, every[1].name) == chosen(every, "chat/2") == [every[1]]
    assert chosen(fewer, "chat") == fewer
    assert len(chosen(every, "chat")) == 2
    assert chosen(every, "chat/9") == chosen(every, "code/1") == []
