"""Floors and ceilings that hold at certain times."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim

from fleetctl.model.services import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The floor and ceiling in force, each with the Schedule that sets it. Overlaps: the highest floor, the lowest
    ceiling, and a floor above a ceiling wins."""

    floor: int | None = None
    floor_by: str = ""
    ceiling: int | None = None
    ceiling_by: str = ""


def bounds(schedules: tuple[Schedule, ...], now: float) -> Bounds:
    """What the Schedules say at `now`. A Schedule holds from each firing of its cron for its duration."""
    found = Bounds()
    for schedule in schedules:
        fired = last_firing(schedule.cron, schedule.tz, int(now // 60))
        if fired is None or now >= fired + schedule.duration_s:
            continue
        label = f'"{schedule.cron}" {schedule.tz}'
        if schedule.min is not None and (found.floor is None or schedule.min > found.floor):
            found = Bounds(floor=schedule.min, floor_by=label, ceiling=found.ceiling, ceiling_by=found.ceiling_by)
        if schedule.max is not None and (found.ceiling is None or schedule.max < found.ceiling):
            found = Bounds(floor=found.floor, floor_by=found.floor_by, ceiling=schedule.max, ceiling_by=label)
    return found


@lru_cache(maxsize=4096)
def last_firing(cron: str, tz: str, minute: int) -> float | None:
    """Unix seconds of the last firing at or before the end of that minute since 1970, or None within a year back."""
    at = datetime.fromtimestamp(minute * 60, UTC).astimezone(ZoneInfo(tz))
    try:
        return next(CronSim(cron, at + timedelta(minutes=1), reverse=True)).timestamp()
    except StopIteration:
        return None
