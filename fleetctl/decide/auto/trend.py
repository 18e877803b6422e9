"""A rise that outlasts a cold start: the past lifted to the level at which a replica ordered now will serve."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from fleetctl.model.learning import BIN_S

BLOCKS = 6
"""Means that the line goes through…"""
BLOCK_LEADS = 0.5
"""…each over this many cold starts: three cold starts in all. Shorter ones follow bursts, longer ones come late."""
BLOCK_LEAST_S = 60.0
DOUBT = 3.0
"""The rise must be so many of its standard errors: with four degrees of freedom, one chance in fifty."""
STEP_SHARE = 0.4
"""Where two levels with a step between leave less than this share of what the line leaves, it was a step."""
LIFT_LIMIT = 1.5
"""Most that any bin is lifted: a line through minutes says little of the next half hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A line through the newest bins' work per bin."""

    bins: int = 0
    level: float = 0.0
    """At the newest bin."""
    slope: float = 0.0
    """Per bin; 0 where no rise stands out."""


def found(works: Sequence[float], cold_s: float) -> Trend:
    """The rise over the last three cold starts."""
    block = round(max(BLOCK_LEAST_S, BLOCK_LEADS * cold_s) / BIN_S)
    if len(works) < BLOCKS * block:
        return Trend()
    newest = works[-BLOCKS * block :]
    means = [sum(newest[place * block : (place + 1) * block]) / block for place in range(BLOCKS)]
    middle, mean = (BLOCKS - 1) / 2, sum(means) / BLOCKS
    square = sum([(place - middle) ** 2 for place in range(BLOCKS)])
    slope = sum([(place - middle) * one for place, one in enumerate(means)]) / square
    rest = sum([(one - mean - slope * (place - middle)) ** 2 for place, one in enumerate(means)])
    error = sqrt(rest / (BLOCKS - 2) / square)
    if slope <= DOUBT * error or slope <= 0 or _stepped(means) < STEP_SHARE * rest:
        return Trend()
    return Trend(bins=BLOCKS * block, level=mean + slope * (BLOCKS / 2), slope=slope / block)


def _stepped(means: Sequence[float]) -> float:
    """What two levels leave unexplained, the mean that holds the step left out: what jumped does not go on rising."""
    rests = []
    for place in range(1, len(means) - 1):
        before, after = means[:place], means[place + 1 :]
        low, high = sum(before) / len(before), sum(after) / len(after)
        rests.append(sum([(one - low) ** 2 for one in before]) + sum([(one - high) ** 2 for one in after]))
    return min(rests)


def lifted(works: Sequence[float], trend: Trend, ahead_s: float) -> list[float]:
    """The works, those under the trend at the level that it will have `ahead_s` from now."""
    if not trend.slope:
        return list(works)
    then = trend.level + trend.slope * ahead_s / BIN_S
    begin = len(works) - trend.bins
    lifted_works = list(works)
    for place in range(max(0, begin), len(works)):
        level = max(trend.level - trend.slope * (len(works) - place), then / LIFT_LIMIT)
        lifted_works[place] *= min(LIFT_LIMIT, max(1.0, then / level))
    return lifted_works
