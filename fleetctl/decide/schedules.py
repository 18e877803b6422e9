"""Floors, ceilings and exact counts that hold at certain times.

Where several Schedules hold at once, this decides:

* Of the exact counts the one that began last holds (of those that began together, the largest), in place of all floors
  and ceilings that began before it or with it. What begins after it holds on top of it.
* Of the floors the highest holds, of the ceilings the lowest, and a floor above a ceiling wins: a floor keeps a promise
  to users, a ceiling saves money.

A Schedule holds from each firing of its cron until the clock in its time zone has gone on by its duration, so that 24 h
are a day also when the clocks change. An hour that is skipped fires what stands in it when it is over; in an hour that
comes twice what names a certain time fires once, at the first (cronsim's rules, which are Debian cron's).
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import ceil
from zoneinfo import ZoneInfo

from cronsim import CronSim

from fleetctl.model.records import dataclass
from fleetctl.model.services import Schedule

AHEAD_MOST_S = 1800.0
"""Capacity is brought at most this long before its hour: no cold start that goes well takes longer, and one that was
measured longer must not keep half a night's capacity."""
TOGETHER_STEPS = 20_000
"""Beginnings looked at in one Service's Schedules for two that contradict each other: some seconds of work at the very
most, and a few milliseconds for Schedules as people write them."""
_DAY_MINUTES = 24 * 60
_TOGETHER_SINCE = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_TOGETHER_UNTIL = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
_HOUR_S = 3600
_SEEN_S = 3 * _HOUR_S
"""Firings are looked for from so long after the beginning of an hour, backwards: the hour itself, what may be brought
ahead of its end, and the hour that the clocks may be set back by, in which cronsim does not tell the two apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What holds at some time, and what says so. None: nothing does."""

    floor: int | None = None
    floor_by: str = ""
    ceiling: int | None = None
    ceiling_by: str = ""
    exact: int | None = None
    exact_by: str = ""

    def applied(self, wanted: int) -> int:
        """The count that comes of `wanted`."""
        count = wanted if self.exact is None else self.exact
        if self.ceiling is not None:
            count = min(count, self.ceiling)
        return count if self.floor is None else max(count, self.floor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """A Schedule that is going to ask for Replicas."""

    at: float
    """Unix seconds."""
    replicas: int
    """The fewest that all Schedules together allow then."""
    clock: str
    """`08:00`, where the Schedule is."""


def bounds(schedules: tuple[Schedule, ...], now: float) -> Bounds:
    """What the Schedules together say at `now`."""
    held = []
    for schedule in schedules:
        began = _began(schedule, now)
        if began is not None:
            held.append((began, schedule))
    if not held:
        return Bounds()
    found = Bounds()
    exact_at = 0.0
    exacts = [(began, schedule.replicas, schedule) for began, schedule in held if schedule.replicas is not None]
    if exacts:
        exact_at, count, by = max(exacts, key=lambda one: one[:2])
        found = Bounds(exact=count, exact_by=label(by))
    for began, schedule in held:
        if exacts and began <= exact_at:
            continue
        found = _with(found, schedule)
    return found


def beginnings(schedules: tuple[Schedule, ...], now: float, within_s: float) -> list[Beginning]:
    """The next beginning of each floor and exact count, of those that come within so many seconds, soonest first."""
    found: list[Beginning] = []
    for schedule in schedules:
        if (schedule.min is None and schedule.replicas is None) or schedule.until is not None:
            continue
        starts = _starts(schedule.cron, schedule.tz, int(now // _HOUR_S))
        place = bisect_right(starts, now)
        if place == len(starts) or starts[place] > now + within_s:
            continue
        at = starts[place]
        clock = datetime.fromtimestamp(at, ZoneInfo(schedule.tz)).strftime("%H:%M")
        found.append(Beginning(at=at, replicas=bounds(schedules, at).applied(0), clock=clock))
    return sorted(found, key=lambda one: one.at)


def _with(found: Bounds, schedule: Schedule) -> Bounds:
    floor, floor_by, ceiling, ceiling_by = found.floor, found.floor_by, found.ceiling, found.ceiling_by
    if schedule.min is not None and (floor is None or schedule.min > floor):
        floor, floor_by = schedule.min, label(schedule)
    if schedule.max is not None and (ceiling is None or schedule.max < ceiling):
        ceiling, ceiling_by = schedule.max, label(schedule)
    return Bounds(
        floor=floor,
        floor_by=floor_by,
        ceiling=ceiling,
        ceiling_by=ceiling_by,
        exact=found.exact,
        exact_by=found.exact_by,
    )


def label(schedule: Schedule) -> str:
    """What a Schedule is called where it sets a count."""
    return f'"{schedule.cron}" {schedule.tz}'


def _began(schedule: Schedule, now: float) -> float | None:
    """When the Schedule began to hold that holds now; None: it does not."""
    if schedule.until is not None:
        # No look at its beginning: clocks that are set back must not undo what was put in force.
        return (schedule.since or 0.0) if now < schedule.until else None
    starts = _starts(schedule.cron, schedule.tz, int(now // _HOUR_S))
    place = bisect_right(starts, now) - 1
    return starts[place] if place >= 0 and now < _end(starts[place], schedule.tz, schedule.duration_s) else None


def window(schedule: Schedule, now: float) -> tuple[float, float] | None:
    """When the Schedule that holds now began and until when it does, in Unix seconds; None: it does not hold."""
    began = _began(schedule, now)
    if began is None:
        return None
    return began, schedule.until if schedule.until is not None else _end(began, schedule.tz, schedule.duration_s)


def following(schedule: Schedule, after: float) -> tuple[float, float] | None:
    """The first beginning after that time, and when what begins then ends, in Unix seconds; None: never again."""
    at = None if schedule.until is not None else _next(schedule, after)
    return None if at is None else (at, _end(at, schedule.tz, schedule.duration_s))


def off_the_clock(schedule: Schedule, at: float) -> bool:
    """Whether the Schedule begins at a time that its cron does not name: its hour is skipped that day."""
    cron = CronSim(schedule.cron, datetime.fromtimestamp(at, UTC))
    local = datetime.fromtimestamp(at, ZoneInfo(schedule.tz))
    return local.minute not in cron.minutes or local.hour not in cron.hours


class Together:
    """Looks for a moment at which two Schedules contradict each other, in a bounded number of steps for all questions.

    What it does not find, because it is more than four years off or too costly to find, `bounds` decides nevertheless.
    """

    def __init__(self) -> None:
        self._steps_left = TOGETHER_STEPS

    def first(self, one: Schedule, other: Schedule) -> float | None:
        """When both begin together for the first time since 2026, in Unix seconds; None: no such moment was found."""
        if one.tz == other.tz and _never_alike(one.cron, other.cron):
            return None
        behind, ahead = one, other
        at = _next(ahead, _TOGETHER_SINCE - 1.0)
        while self._steps_left > 0 and at is not None and at < _TOGETHER_UNTIL:
            self._steps_left -= 1
            caught_up = _next(behind, at - 1.0)
            if caught_up == at:
                return at
            behind, ahead, at = ahead, behind, caught_up
        return None

    def floor_above_ceiling(self, one: Schedule, other: Schedule, every: tuple[Schedule, ...]) -> float | None:
        """When one begins while the other holds and a floor is above a ceiling, in Unix seconds; None: none was found.

        `every` are all Schedules of the Service, these two among them: an exact count may stand in place of both.
        """
        if one.tz == other.tz and not _some_minute_of_both(one, other):
            return None
        beginning, holding = one, other
        at = _next(beginning, _TOGETHER_SINCE - 1.0)
        # Of those beginnings of one between two of the other, the first is the soonest after what the other began:
        # if that one comes too late, so do the rest. So each is asked in turn for its first after the other's.
        while self._steps_left > 0 and at is not None and at < _TOGETHER_UNTIL:
            self._steps_left -= 1
            if _holds(holding, at):
                found = bounds(every, at)
                if found.floor is not None and found.ceiling is not None and found.floor > found.ceiling:
                    return at
            beginning, holding = holding, beginning
            at = _next(beginning, at)
        return None


def _holds(schedule: Schedule, at: float) -> bool:
    """Whether the Schedule holds then, by its last beginning until then."""
    zone = ZoneInfo(schedule.tz)
    for began in CronSim(schedule.cron, datetime.fromtimestamp(at + 1.0, UTC).astimezone(zone), reverse=True):
        if began.timestamp() <= at:
            return at < _end(began.timestamp(), schedule.tz, schedule.duration_s)
    return False


def _some_minute_of_both(one: Schedule, other: Schedule) -> bool:
    """Whether both may hold at one minute of the day, on whatever days: the usual case, told without a calendar."""
    return bool(_minutes_held(one) & _minutes_held(other))


def _minutes_held(schedule: Schedule) -> int:
    """A bit for each minute of the day at which the Schedule may hold."""
    lasts = ceil(schedule.duration_s / 60.0)
    if lasts >= _DAY_MINUTES:
        return (1 << _DAY_MINUTES) - 1
    cron = CronSim(schedule.cron, datetime(2026, 1, 1, tzinfo=UTC))
    held = 0
    for begin in (60 * hour + minute for hour in cron.hours for minute in cron.minutes):
        held |= ((1 << lasts) - 1) << begin
    return (held | held >> _DAY_MINUTES) & ((1 << _DAY_MINUTES) - 1)


def _never_alike(cron: str, other: str) -> bool:
    """Whether no minute, hour or month of one zone is in both: the usual case, told without a calendar."""
    some = datetime(2026, 1, 1, tzinfo=UTC)
    one, two = CronSim(cron, some), CronSim(other, some)
    return not (one.minutes & two.minutes and one.hours & two.hours and one.months & two.months)


def _next(schedule: Schedule, after: float) -> float | None:
    """The first beginning after that time; None: never again."""
    zone = ZoneInfo(schedule.tz)
    for at in CronSim(schedule.cron, datetime.fromtimestamp(after, UTC).astimezone(zone)):
        # In the second of two hours of one name cronsim may go back into the first.
        if at.timestamp() > after:
            return at.timestamp()
    return None


@lru_cache(maxsize=4096)
def _starts(cron: str, tz: str, hour: int) -> tuple[float, ...]:
    """Beginnings around that hour since 1970, in Unix seconds: the last before it, and those until the end of the next.

    A tick only looks them up; a thousand Services work them out once an hour.
    """
    begin, end = hour * _HOUR_S, (hour + 2) * _HOUR_S
    seen_from = datetime.fromtimestamp(begin + _SEEN_S, UTC).astimezone(ZoneInfo(tz))
    fired: set[float] = set()
    for at in CronSim(cron, seen_from, reverse=True):
        start = at.timestamp()
        if start <= end:
            fired.add(start)
        if start <= begin:
            break
    return tuple(sorted(fired))


@lru_cache(maxsize=4096)
def _end(start: float, tz: str, duration_s: float) -> float:
    """When the clock on the wall has gone on by the duration: the first time that it shows it."""
    zone = ZoneInfo(tz)
    wall = datetime.fromtimestamp(start, zone).replace(tzinfo=None) + timedelta(seconds=duration_s)
    shown = [wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1)]
    return min([at for at in shown if at > start], default=start + duration_s)
