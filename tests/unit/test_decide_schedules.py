"""Schedules: which of several holds, what the clocks' changes do to them, and capacity brought before its hour."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from fleet_world import a_service, scaled
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.decide.auto.leads import Lead
from fleetctl.decide.lines import Line, Recollection, ServiceLine, Signals, Starting, answer
from fleetctl.decide.schedules import AHEAD_MOST_S, Together, bounds
from fleetctl.decide.timetable import timed
from fleetctl.model.decisions import Inputs
from fleetctl.model.services import ColdStart, Schedule, Service
from fleetctl.model.signals import Flow

LEAD = Lead(cold_s=270.0, standby_s=8.0)


def at(text: str) -> float:
    """Unix seconds of an ISO time with its offset."""
    return datetime.fromisoformat(text).timestamp()


def daily(hour: int, hours: float, **counts: int) -> Schedule:
    return Schedule(cron=f"0 {hour} * * *", duration_s=hours * 3600.0, **counts)


def count(schedules: tuple[Schedule, ...], now: str, wanted: int) -> int:
    return bounds(schedules, at(now)).applied(wanted)


# several at once


@pytest.mark.parametrize(
    ("schedules", "wanted", "holds", "why"),
    [
        ((daily(8, 10, min=2), daily(9, 10, min=5)), 0, 5, "the highest floor"),
        ((daily(8, 10, min=5), daily(9, 10, min=2)), 0, 5, "whichever began last"),
        ((daily(8, 10, max=2), daily(9, 10, max=5)), 9, 2, "the lowest ceiling"),
        ((daily(8, 10, min=5), daily(9, 10, max=2)), 0, 5, "a floor above a ceiling wins"),
        ((daily(8, 10, min=5), daily(9, 10, max=2)), 9, 5, "from both sides"),
        ((daily(8, 10, replicas=3),), 9, 3, "exactly, down"),
        ((daily(8, 10, replicas=3),), 0, 3, "exactly, up"),
        ((daily(8, 10, replicas=0),), 9, 0, "closed"),
        ((daily(8, 10, replicas=3), daily(9, 10, replicas=6)), 4, 6, "the exact count that began last"),
        ((daily(9, 10, replicas=6), daily(8, 10, replicas=3)), 4, 6, "in whatever order they are written"),
        ((daily(8, 10, min=5), daily(9, 10, replicas=3)), 9, 3, "in place of an earlier floor"),
        ((daily(8, 10, max=2), daily(9, 10, replicas=3)), 0, 3, "and of an earlier ceiling"),
        ((daily(9, 10, min=5), daily(9, 10, replicas=3)), 0, 3, "and of one that begins with it"),
        ((daily(8, 10, replicas=3), daily(9, 10, min=5)), 0, 5, "a later floor holds on top"),
        ((daily(8, 10, replicas=3), daily(9, 10, max=2)), 9, 2, "so does a later ceiling"),
        ((daily(8, 3, replicas=3), daily(9, 10, min=1)), 9, 9, "at 12 it is over"),
        ((daily(9, 10, replicas=2), daily(9, 10, replicas=6)), 0, 6, "of two that begin together the larger"),
    ],
)
def test_several_hold_by_the_stated_rule(schedules: tuple[Schedule, ...], wanted: int, holds: int, why: str) -> None:
    assert count(schedules, "2026-03-10T12:00:00+00:00", wanted) == holds, why


SCHEDULE = st.builds(
    lambda hour, hours, field, count: daily(hour, hours, **{field: count}),
    st.integers(0, 23),
    st.integers(1, 30),
    st.sampled_from(["min", "max", "replicas"]),
    st.integers(0, 9),
)


@given(st.lists(SCHEDULE, max_size=5), st.integers(0, 47), st.integers(0, 9), st.randoms(use_true_random=False))
def test_the_order_in_the_file_means_nothing(schedules: list[Schedule], hour: int, wanted: int, random: object) -> None:
    now = at("2026-03-10T00:30:00+00:00") + 3600.0 * hour
    shuffled = list(schedules)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert bounds(tuple(schedules), now).applied(wanted) == bounds(tuple(shuffled), now).applied(wanted)


# when the clocks change: in Berlin 02:00 → 03:00 on 2026-03-29, 03:00 → 02:00 on 2026-10-25


def berlin(cron: str, duration_s: float) -> tuple[Schedule, ...]:
    return (Schedule(cron=cron, tz="Europe/Berlin", duration_s=duration_s, min=1),)


@pytest.mark.parametrize(
    ("cron", "hours", "begins", "ends", "why"),
    [
        ("30 2 28 * *", 1.0, "2026-03-28T02:30:00+01:00", "2026-03-28T03:30:00+01:00", "the night before: nothing odd"),
        ("30 2 29 * *", 1.0, "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00", "skipped: when it is over"),
        ("0 3 29 * *", 1.0, "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00", "just after the jump"),
        ("0 0 29 * *", 24.0, "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", "a day of 23 hours"),
        ("0 22 28 * *", 8.0, "2026-03-28T22:00:00+01:00", "2026-03-29T06:00:00+02:00", "ten at night to six"),
        ("30 1 29 * *", 1.0, "2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00", "an end in the skipped hour"),
        ("30 2 25 * *", 0.25, "2026-10-25T02:30:00+02:00", "2026-10-25T02:45:00+02:00", "doubled: at the first"),
        ("0 0 25 * *", 24.0, "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", "a day of 25 hours"),
        ("0 22 24 * *", 8.0, "2026-10-24T22:00:00+02:00", "2026-10-25T06:00:00+01:00", "ten at night to six"),
        (
            "30 1 25 * *",
            1.0,
            "2026-10-25T01:30:00+02:00",
            "2026-10-25T02:30:00+02:00",
            "ends at the first half past two",
        ),
        (
            "30 2 25 * *",
            1.0,
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T03:30:00+01:00",
            "half past two to half past three",
        ),
    ],
)
def test_the_clock_on_the_wall_rules_when_clocks_change(
    cron: str, hours: float, begins: str, ends: str, why: str
) -> None:
    schedules = berlin(cron, hours * 3600.0)

    held = [bounds(schedules, when).floor for when in (at(begins) - 1, at(begins), at(ends) - 1, at(ends))]

    assert held == [None, 1, 1, None], why


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_every_day_for_24_hours_has_no_gap(day: str, hours: int) -> None:
    schedules = berlin("0 0 * * *", 86400.0)
    midnight = at(f"{day}T00:00:00+0{1 if day < '2026-04' else 2}:00")

    held = {bounds(schedules, midnight + 60.0 * minute).floor for minute in range(-60, 26 * 60)}

    assert held == {1}
    assert bounds(berlin("0 0 29 3 *", 86400.0), at("2026-03-29T23:59:00+02:00")).floor == 1


def test_what_names_every_half_hour_comes_in_both_doubled_hours_and_not_in_the_skipped_one() -> None:
    def fired(day: str, offset: str, tenths: int) -> list[int]:
        begin, schedules = at(f"{day}T00:00:00{offset}"), berlin("*/30 * * * *", 60.0)
        return [minute for minute in range(tenths) if bounds(schedules, begin + 60.0 * minute).floor]

    assert fired("2026-10-25", "+02:00", 300) == [0, 30, 60, 90, 120, 150, 180, 210, 240, 270]
    assert fired("2026-03-29", "+01:00", 240) == [0, 30, 60, 90, 120, 150, 180, 210]


CRONS = ["30 2 * * *", "0 3 * * *", "0 2 * * *", "*/20 * * * *", "15 1-3 * * *", "5 */2 * * *", "0 0 29 2 *"]


@given(st.integers(0, 3 * 86400), st.sampled_from(CRONS), st.sampled_from(["2026-03-28", "2026-10-24", "2028-02-28"]))
def test_what_is_looked_up_by_the_hour_is_what_one_long_look_finds(offset: int, cron: str, day: str) -> None:
    begin = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    now, fired = begin.timestamp() + offset, []
    for one in CronSim(cron, (begin - timedelta(seconds=1)).astimezone(ZoneInfo("Europe/Berlin"))):
        if one.timestamp() > now:
            break
        fired.append(one.timestamp())

    held = bounds(berlin(cron, 60.0), now).floor

    assert held == (1 if any(start <= now < start + 60.0 for start in fired) else None)
    if fired:
        since = bounds(berlin(cron, 4 * 86400.0), now)
        assert since.floor == 1


# before the hour

EIGHT = at("2026-03-10T08:00:00+00:00")
MORNING = (daily(8, 10, min=4),)


def brought(
    before_s: float,
    *,
    current: int = 0,
    standby: int = 0,
    ahead_of: float | None = None,
    lead: Lead = LEAD,
    schedules: tuple[Schedule, ...] = MORNING,
    span_s: float = 0.0,
) -> tuple[int, str]:
    """The count that a wish for none becomes, that long before eight, and why."""
    inputs = Inputs(at=EIGHT - before_s, load=None, current=current, standby=standby, flow=Flow(span_s=span_s))
    found = timed(schedules, inputs, 0, lead=lead, ahead_of=ahead_of)
    return found.changes[-1][:2] if found.changes else (0, "")


@pytest.mark.parametrize(
    ("before_s", "more", "replicas", "why"),
    [
        (271.0, {}, 0, "too early"),
        (270.0, {}, 4, "by what a cold start takes"),
        (272.0, {"span_s": 5.0}, 4, "the next tick would be too late"),
        (270.0, {"standby": 4}, 0, "standby holds all of them"),
        (8.0, {"standby": 4}, 4, "so they come just in time"),
        (270.0, {"standby": 3}, 4, "one would be missing"),
        (270.0, {"current": 2, "standby": 2}, 0, "two are there, two stand by"),
        (200.0, {"standby": 4, "ahead_of": EIGHT}, 4, "once begun, it is brought on"),
        (200.0, {"current": 4}, 4, "and not given up once all are there"),
        (AHEAD_MOST_S + 1, {"lead": Lead(cold_s=9000.0, standby_s=8.0)}, 0, "capped"),
        (AHEAD_MOST_S, {"lead": Lead(cold_s=9000.0, standby_s=8.0)}, 4, "at the cap"),
        (100.0, {"schedules": (daily(8, 10, replicas=3),)}, 3, "an exact count above what is there"),
        (100.0, {"schedules": (daily(8, 10, max=3),)}, 0, "a ceiling brings nothing"),
        (
            100.0,
            {"schedules": (daily(7, 10, replicas=2), daily(8, 1, replicas=5))},
            5,
            "above the exact count before it",
        ),
        (100.0, {"schedules": (daily(7, 10, replicas=6), daily(8, 1, replicas=5))}, 6, "below it: nothing early"),
        (
            100.0,
            {"schedules": (daily(8, 10, min=6), daily(8, 10, replicas=2))},
            2,
            "what will hold then, not the floor",
        ),
        (100.0, {"schedules": (daily(6, 2, max=1), daily(8, 10, min=4))}, 4, "above a ceiling that is about to end"),
    ],
)
def test_capacity_comes_before_its_hour(before_s: float, more: dict[str, object], replicas: int, why: str) -> None:
    found, _ = brought(before_s, **more)  # type: ignore[arg-type]

    assert found == replicas, why


def test_the_reason_says_for_when_and_why_so_early() -> None:
    assert brought(200.0) == (4, "brings 4 by 08:00, a start takes 4.5 min")
    assert brought(5.0, standby=4) == (4, "brings 4 by 08:00, a start takes 8 s")


def test_nothing_ends_early() -> None:
    six = EIGHT + 10 * 3600.0

    assert bounds(MORNING, six - 1.0).floor == 4
    assert bounds(MORNING, six).floor is None


def punctual(**changes: object) -> Service:
    service = scaled(a_service(), min=0, max=8, step=2, scale_down_delay_s=0.0, idle_s=0.0)
    return replace(service, cold_start=ColdStart(cold_s=120.0, standby_s=5.0), schedule=MORNING, **changes)  # type: ignore[arg-type]


def mornings(service: Service, *, takes_s: float, days: int) -> list[tuple[float, float]]:
    """For each day: seconds before eight of the first order, and of the fourth ready replica. Ticks of ten seconds."""
    known, seen = Recollection(), []
    for day in range(days):
        eight = EIGHT + 86400.0 * day
        starts: list[float] = []
        ready = 0
        ordered_at = there_at = 0.0
        for tick in range(-180, 61):
            now = eight + 10.0 * tick
            ready += sum(1 for begun in starts if now - begun >= takes_s)
            starts = [begun for begun in starts if now - begun < takes_s]
            if not ordered_at and starts:
                ordered_at = min(starts)
            if not there_at and ready >= 4:
                there_at = now
            line = ServiceLine(
                name=service.name,
                ready=ready,
                starting=tuple(Starting(age_s=now - begun) for begun in starts),
                signals=Signals(concurrency=0.0, queue=0.0),
            )
            made, known = answer(Line(t=now, services=(line,)), [service], known)
            wanted = made.decisions[0].desired
            starts += [now] * (wanted - ready - len(starts))
        seen.append((eight - ordered_at, eight - there_at))
    return seen


def test_the_lead_is_learned_from_the_starts_that_are_seen() -> None:
    """The file says two minutes and it takes six: late on the first days, in time once that was seen."""
    days = mornings(punctual(), takes_s=360.0, days=3)

    assert days[0][1] < 0, "by the guess they come late"
    assert days[-1][0] >= 360.0
    assert 0 <= days[-1][1] <= 60.0, "in time, and not long before"


def test_an_exact_count_need_not_be_whole_steps() -> None:
    service = replace(punctual(), schedule=(daily(8, 10, replicas=3),))
    line = Line(t=EIGHT + 60.0, services=(ServiceLine(name=service.name, ready=2, signals=Signals(concurrency=0.0)),))

    made, _ = answer(line, [service], Recollection())

    assert (made.decisions[0].desired, made.decisions[0].binding) == (3, "schedule")
    assert made.decisions[0].reason.startswith('exactly 3 by "0 8 * * *" UTC')


@given(
    st.lists(SCHEDULE, max_size=4).map(tuple),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4)), min_size=2, max_size=20),
)
def test_early_capacity_is_only_ever_more(schedules: tuple[Schedule, ...], seen: list[tuple[int, int]]) -> None:
    """Bringing capacity early never takes any away, is never above what will hold, and ends at its hour."""
    ahead_of = None
    for tick, (current, standby) in enumerate(seen):
        inputs = Inputs(at=EIGHT - 600.0 + 60.0 * tick, load=None, current=current, standby=standby)
        plain = bounds(schedules, inputs.at).applied(current)

        found = timed(schedules, inputs, current, lead=LEAD, ahead_of=ahead_of)

        after = found.changes[-1][0] if found.changes else current
        assert after >= plain
        assert after <= max([plain, *(bounds(schedules, inputs.at + s).applied(0) for s in range(0, 1900, 60))])
        assert found.ahead_of is None or inputs.at < found.ahead_of <= inputs.at + AHEAD_MOST_S
        ahead_of = found.ahead_of


# contradictions


@pytest.mark.parametrize(
    ("one", "other", "when", "why"),
    [
        ("0 8 * * *", "0 8 * * mon", "2026-01-05T08:00:00+00:00", "Mondays"),
        ("0 8 * * *", "0 9 * * *", None, "an hour apart"),
        ("* * * * *", "30 4 1 7 *", "2026-07-01T04:30:00+00:00", "every minute, and one of them"),
        ("0 0 1 1 *", "0 0 * * mon", "2029-01-01T00:00:00+00:00", "only in some years"),
        ("0 0 * * mon", "0 0 * * tue", None, "never"),
    ],
)
def test_two_that_begin_together_are_found(one: str, other: str, when: str | None, why: str) -> None:
    found = Together().first(Schedule(cron=one), Schedule(cron=other))

    assert found == (None if when is None else at(when)), why


def test_zones_are_told_apart() -> None:
    berlin_nine = Schedule(cron="0 9 * * *", tz="Europe/Berlin")

    assert Together().first(berlin_nine, Schedule(cron="0 8 * * *")) == at("2026-01-01T08:00:00+00:00")
    assert Together().first(berlin_nine, Schedule(cron="0 7 * * *")) == at("2026-03-29T07:00:00+00:00"), "in summer"
    assert Together().first(berlin_nine, Schedule(cron="0 9 * * *")) is None


@pytest.mark.parametrize(
    ("floor", "ceiling", "when", "why"),
    [
        (daily(8, 10, min=4), daily(17, 4, max=2), "2026-01-01T17:00:00+00:00", "the last hour of the floor"),
        (daily(17, 4, min=4), daily(8, 10, max=2), "2026-01-01T17:00:00+00:00", "the last hour of the ceiling"),
        (daily(8, 10, min=4), daily(8, 10, max=2), "2026-01-01T08:00:00+00:00", "together"),
        (daily(8, 10, min=4), daily(18, 14, max=2), None, "one ends as the other begins"),
        (daily(8, 10, min=4), daily(18, 15, max=2), "2026-01-01T08:00:00+00:00", "past midnight"),
        (daily(8, 10, min=4), daily(8, 10, max=4), None, "they agree"),
        (
            Schedule(cron="0 8 * * mon-fri", duration_s=36000.0, min=4),
            Schedule(cron="0 8 * * sat,sun", duration_s=36000.0, max=2),
            None,
            "on other days",
        ),
        (
            Schedule(cron="0 8 * * mon-fri", duration_s=36000.0, min=4),
            Schedule(cron="0 22 * * *", tz="Asia/Tokyo", duration_s=7200.0, max=2),
            "2026-01-01T13:00:00+00:00",
            "a night elsewhere",
        ),
        (
            Schedule(cron="*/15 * * * *", duration_s=300.0, min=4),
            Schedule(cron="0 0 29 2 *", duration_s=86400.0, max=2),
            "2028-02-29T00:00:00+00:00",
            "once in four years",
        ),
    ],
)
def test_a_floor_above_a_ceiling_is_found(floor: Schedule, ceiling: Schedule, when: str | None, why: str) -> None:
    found = Together().floor_above_ceiling(floor, ceiling, (floor, ceiling))

    assert found == (None if when is None else at(when)), why


def test_an_exact_count_stands_in_place_of_both() -> None:
    pair = (daily(8, 10, min=4), daily(8, 10, max=2))

    assert Together().floor_above_ceiling(*pair, (*pair, daily(8, 10, replicas=3))) is None
    assert Together().floor_above_ceiling(*pair, (*pair, daily(7, 10, replicas=3))) is not None, "it began before them"


@given(st.integers(0, 23), st.integers(1, 30), st.integers(0, 23), st.integers(1, 30))
def test_a_contradiction_is_found_just_when_some_hour_has_it(hour: int, hours: int, other: int, others: int) -> None:
    pair = (daily(hour, hours, min=2), daily(other, others, max=1))
    begin = at("2026-03-10T00:00:00+00:00")
    some = any(
        (held := bounds(pair, begin + 3600.0 * passed)).floor is not None and held.ceiling is not None
        for passed in range(24)
    )

    assert (Together().floor_above_ceiling(*pair, pair) is not None) == some
