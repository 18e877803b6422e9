"""How long a start takes, cold and from standby, learned from those that are on their way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

from fleetctl.model.learning import Leads

COLD_GUESS_S = 300.0
STANDBY_GUESS_S = 30.0
"""Where the service file says nothing: an 8B model from a registry in the region; a stopped node."""
KEPT = 12
"""Starts remembered of each kind: an hour or a day of scaling, by the traffic."""
PRIOR_STARTS = 2
"""The guess counts like this many starts: soon outvoted."""
QUANTILE = 0.7
"""Planned with: a little later than half of them, as being late costs more than being early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """Seconds from an order until it serves."""

    cold_s: float
    standby_s: float


def watched(leads: Leads, *, span_s: float, ready: int, ages: Sequence[float], guess: Lead) -> Leads:
    """The leads after one more look at the fleet, `span_s` after the one before."""
    ages = tuple(sorted([round(age_s, 1) for age_s in ages], reverse=True))
    left = list(ages)
    gone = []
    for age_s in leads.ages:
        match = next((now_s for now_s in left if abs(now_s - age_s - span_s) < 0.5), None)
        if match is None:
            gone.append(round(age_s + span_s / 2, 1))
        else:
            left.remove(match)
    cold, standby = leads.cold, leads.standby
    # Those given up go youngest first, so those that became ready are the oldest of the gone.
    divide_s = sqrt(max(1.0, guess.cold_s) * max(1.0, guess.standby_s))
    for took_s in gone[: max(0, ready - leads.ready)]:
        if took_s < divide_s:
            standby = (*standby, took_s)[-KEPT:]
        else:
            cold = (*cold, took_s)[-KEPT:]
    return replace(leads, cold=cold, standby=standby, ages=ages, ready=ready)


def lead(leads: Leads, guess: Lead) -> Lead:
    """What to plan with. One that still starts, past the estimate, lengthens it."""
    overdue = [age_s for age_s in leads.ages if age_s > guess.cold_s][:1]
    return Lead(
        cold_s=_quantile([*leads.cold, *overdue], guess.cold_s),
        standby_s=_quantile(leads.standby, guess.standby_s),
    )


def _quantile(seen: Sequence[float], guess_s: float) -> float:
    starts = sorted([*seen, *([guess_s] * PRIOR_STARTS)])
    return starts[min(len(starts) - 1, int(QUANTILE * len(starts)))]
