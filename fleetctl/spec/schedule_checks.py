"""Schedules that cannot hold: beyond the Service's limits, kept from it by its behavior, or against each other.

The last of these is refused where two exact counts begin together, and warned of where a floor is above a ceiling.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import combinations, permutations
from zoneinfo import ZoneInfo

from fleetctl.decide.schedules import Together
from fleetctl.model.services import Scaling, Schedule, Service
from fleetctl.spec.problems import Problem
from fleetctl.spec.trees import line_at
from fleetctl.spec.validation import Source


def schedule_problems(service: Service, source: Source) -> Iterator[Problem]:
    """What cannot work in a Service's Schedules."""
    for index, schedule in enumerate(service.schedule):
        yield from _beyond_limits(service.scaling, schedule, index, source)
        yield from _kept_from(service.scaling, schedule, index, source)
    together = Together()
    exact = [(index, schedule) for index, schedule in enumerate(service.schedule) if schedule.replicas is not None]
    for (first, one), (second, other) in combinations(exact, 2):
        at = together.first(one, other) if one.replicas != other.replicas else None
        if at is not None:
            line = line_at(source.node, ("schedule", first, "replicas"))
            yield source.problem(
                ("schedule", second, "replicas"),
                f"exactly {other.replicas} begins together with exactly {one.replicas} of line {line}, "
                f"such as on {_clock(at, other)}",
                "let the one that is to hold begin a minute later, or write min or max instead",
            )


def schedule_warnings(service: Service, source: Source) -> Iterator[Problem]:
    """Ceilings that do not hold while a floor does: allowed, as the floor wins, and hardly ever what was meant."""
    together = Together()
    for (first, floor), (second, ceiling) in permutations(enumerate(service.schedule), 2):
        if floor.min is None or ceiling.max is None or floor.min <= ceiling.max:
            continue
        at = together.floor_above_ceiling(floor, ceiling, service.schedule)
        if at is not None:
            line = line_at(source.node, ("schedule", first, "min"))
            yield source.problem(
                ("schedule", second, "max"),
                f"the ceiling of {ceiling.max} does not hold beside the floor of {floor.min} of line {line}, "
                f"which wins, such as on {_clock(at, ceiling)}",
                "let them hold at different times, or write counts that agree",
            )


def _clock(at: float, schedule: Schedule) -> str:
    return datetime.fromtimestamp(at, ZoneInfo(schedule.tz)).strftime("%Y-%m-%d %H:%M")


def _beyond_limits(scaling: Scaling, schedule: Schedule, index: int, source: Source) -> Iterator[Problem]:
    least, most = scaling.min, scaling.max
    for field, count in (("min", schedule.min), ("replicas", schedule.replicas)):
        if count is not None and count > most:
            yield source.problem(
                ("schedule", index, field),
                f"{count} is more than scaling.max, which is {most}",
                f"write scaling: {{max: {count}}}, or a lower {field}",
            )
    for field, count in (("max", schedule.max), ("replicas", schedule.replicas)):
        if count is not None and count < least:
            yield source.problem(
                ("schedule", index, field),
                f"{count} is less than scaling.min, which is {least}",
                f"write scaling: {{min: {count}}}, or a higher {field}",
            )


def _kept_from(scaling: Scaling, schedule: Schedule, index: int, source: Source) -> Iterator[Problem]:
    for field, up, down in (("min", True, False), ("max", False, True), ("replicas", True, True)):
        count = getattr(schedule, field)
        if count is None:
            continue
        for direction, wanted, behavior in (
            ("up", up and count > scaling.min, scaling.up),
            ("down", down and count < scaling.max, scaling.down),
        ):
            if wanted and behavior.select == "disabled":
                yield source.problem(
                    ("schedule", index, field),
                    f"{count} may never be reached: scaling.behavior.{direction} is disabled",
                    f"remove select: disabled from behavior.{direction}, or limit it with policies instead",
                )
