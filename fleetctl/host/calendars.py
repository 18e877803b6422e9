"""When a Schedule fires, in the words of cron and of systemd.

Both call `fleetctl schedule run`, which does nothing outside of the Schedule's window. So what is written here may fire
more often than the Schedule, and never less: a cron of another time zone fires at each hour that may be the right one.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

DAYS_AHEAD = 400
"""In a year and some every zone that changes its clocks has changed them both ways."""
_DAY_MINUTES = 24 * 60
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def cron_times(cron: str, tz: str, here: ZoneInfo, *, now: float) -> tuple[str, ...]:
    """The five fields of each crontab line that wakes on a machine of zone `here` whenever the Schedule may begin."""
    fields = _Fields(cron)
    shifts = shifts_minutes(tz, here, now=now)
    if shifts == {0}:
        months, days, weekdays = fields.months, fields.days, fields.weekdays
    else:
        months = days = weekdays = "*"  # a time that is moved may lie on the day before or after
    by_minute: dict[int, set[int]] = {}
    for shift in shifts:
        for hour in fields.hours:
            for minute in fields.minutes:
                at = (60 * hour + minute + shift) % _DAY_MINUTES
                by_minute.setdefault(at % 60, set()).add(at // 60)
    alike: dict[frozenset[int], list[int]] = {}
    for minute, hours in sorted(by_minute.items()):
        alike.setdefault(frozenset(hours), []).append(minute)
    return tuple(
        f"{_listed(minutes, range(60))} {_listed(hours, range(24))} {days} {months} {weekdays}"
        for hours, minutes in alike.items()
    )


def shifts_minutes(tz: str, here: ZoneInfo, *, now: float) -> set[int]:
    """By how many minutes a clock `here` is ahead of one in `tz`: each difference that comes up in the next year."""
    there, begin = ZoneInfo(tz), datetime.fromtimestamp(now, UTC)
    found = set()
    for hours in range(DAYS_AHEAD * 24):
        at = begin + timedelta(hours=hours)
        ahead, behind = at.astimezone(here).utcoffset(), at.astimezone(there).utcoffset()
        assert ahead is not None
        assert behind is not None
        found.add(int((ahead - behind).total_seconds() // 60))
    return found


def on_calendar(cron: str, tz: str) -> tuple[str, ...]:
    """The OnCalendar values of a systemd timer that fires whenever the Schedule begins, in the Schedule's own zone."""
    fields = _Fields(cron)
    clock = f"{_pairs(fields.hours, range(24))}:{_pairs(fields.minutes, range(60))}:00 {tz}"
    months = "*" if fields.months == "*" else fields.months_padded
    by_day = f"*-{months}-{fields.days_padded} {clock}"
    if fields.weekdays == "*":
        return (by_day,)
    names = ",".join(_WEEKDAYS[day] for day in fields.weekday_numbers)
    if fields.both:
        return (f"{names} *-{months}-{fields.days_padded} {clock}",)
    # Where day of month and weekday are both given, cron fires on either; systemd would want both.
    return (by_day, f"{names} *-{months}-* {clock}")


class _Fields:
    """Of a cron expression. Days that neither cron nor systemd can say (the last, the second Friday) are all days."""

    def __init__(self, cron: str) -> None:
        found = CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))
        self.minutes: list[int] = sorted(found.minutes)
        self.hours: list[int] = sorted(found.hours)
        days = [day for day in found.days if day > 0]
        weekdays = {day % 7 for day in found.weekdays if isinstance(day, int)}
        said = all(isinstance(day, int) for day in found.weekdays)
        if not said or len(days) < len(found.days):
            days, weekdays = list(range(1, 32)), set(range(7))
        self.both: bool = found.day_and
        """A day must fit day of month and weekday, and not either of them."""
        self.months = _listed(found.months, range(1, 13))
        self.months_padded = _pairs(found.months, range(1, 13))
        self.days = _listed(days, range(1, 32))
        self.days_padded = _pairs(days, range(1, 32))
        self.weekdays = _listed(weekdays, range(7))
        self.weekday_numbers = sorted(weekdays)


def _listed(values: Iterable[int], every: range) -> str:
    """`1-5`, `0,15,30`, or `*` for all there are."""
    found = sorted(set(values))
    if found == list(every):
        return "*"
    parts: list[str] = []
    begin = found[0]
    for at, value in enumerate(found):
        if at + 1 == len(found) or found[at + 1] != value + 1:
            parts.append(str(begin) if begin == value else f"{begin}-{value}")
            begin = found[at + 1] if at + 1 < len(found) else begin
    return ",".join(parts)


def _pairs(values: Iterable[int], every: range) -> str:
    """`08,09`, or `*` for all there are."""
    found = sorted(set(values))
    return "*" if found == list(every) else ",".join(f"{value:02}" for value in found)
