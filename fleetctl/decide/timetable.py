"""What a Service's Schedules make of a wanted count; and capacity brought before its hour, by what a start takes.

A floor, or an exact count above what is there, takes effect so early that what is ordered then serves at its hour: by
the time of a start from Standby where Standby holds all that is missing, of a cold one otherwise. Nothing ends early.
"""

from fleetctl.decide.auto.leads import Lead
from fleetctl.decide.schedules import AHEAD_MOST_S, Beginning, beginnings, bounds, label, window
from fleetctl.model.decisions import Inputs
from fleetctl.model.records import dataclass
from fleetctl.model.services import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """The count after the Schedules."""

    changes: tuple[tuple[int, str, float | None], ...]
    """Each count that the Schedules made of the one before, why, and until when; empty: they left it."""
    exact: bool
    """It is an exact count: whole steps do not matter."""
    ahead_of: float | None
    """The last beginning that capacity is being brought for; None: there is none."""


def timed(schedules: tuple[Schedule, ...], inputs: Inputs, wanted: int, *, lead: Lead, ahead_of: float | None) -> Timed:
    """`wanted` with the Schedules over it. `ahead_of` is what the tick before returned.

    What is once being brought is brought on, whatever the lead is thought to be meanwhile, so that nothing is given up
    and ordered again before the hour.
    """
    now, changes = inputs.at, []
    found = bounds(schedules, now)
    count = wanted
    if found.exact is not None:
        count = found.exact
        changes.append((count, f"exactly {count} by {found.exact_by}", _until(schedules, now, found.exact_by)))
    if found.ceiling is not None and count > found.ceiling:
        count = found.ceiling
        changes.append((count, f"ceiling {count} by {found.ceiling_by}", _until(schedules, now, found.ceiling_by)))
    if found.floor is not None and count < found.floor:
        count = found.floor
        changes.append((count, f"floor {count} by {found.floor_by}", _until(schedules, now, found.floor_by)))
    exact = count == found.exact
    due = [
        (one, start_s)
        for one, start_s in _coming(schedules, inputs, lead)
        if one.at - now <= _early_s(inputs, start_s) or (ahead_of is not None and one.at <= ahead_of)
    ]
    for one, start_s in due:
        if one.replicas > count:
            count, exact = one.replicas, False
            changes.append((count, f"brings {count} by {one.clock}, a start takes {_words(start_s)}", None))
    return Timed(changes=tuple(changes), exact=exact, ahead_of=max((one.at for one, _ in due), default=None))


def _until(schedules: tuple[Schedule, ...], now: float, by: str) -> float | None:
    """The end of the Schedule that holds now and is called so; of several, the last."""
    held = [window(one, now) for one in schedules if label(one) == by]
    return max((one[1] for one in held if one is not None), default=None)


def _coming(schedules: tuple[Schedule, ...], inputs: Inputs, lead: Lead) -> list[tuple[Beginning, float]]:
    """Beginnings that may have to be acted on now, each with the seconds that a start for it takes."""
    found = []
    for one in beginnings(schedules, inputs.at, AHEAD_MOST_S):
        missing = one.replicas - inputs.current
        covered = 0 < missing <= inputs.standby
        found.append((one, lead.standby_s if covered else lead.cold_s))
    return found


def _early_s(inputs: Inputs, start_s: float) -> float:
    """How long before its hour capacity is ordered now or too late: the next tick may be as far off as the last was."""
    return min(AHEAD_MOST_S, start_s + min(start_s, inputs.flow.span_s))


def _words(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
