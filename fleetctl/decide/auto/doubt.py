"""How much worse the future is taken to be than what was seen, while the brain is young."""

from collections.abc import Sequence
from math import sqrt

YOUNG_MARGIN = 0.05
"""By this demand is inflated while young. Later not at all: the work model errs by some ten percent, upwards."""
YOUNG_STRETCH = 0.4
"""While young, what exceeds the mean is taken to be up to this much larger: a short past has not seen the worst
burst…"""
UNEVEN_FULL = 0.5
"""…by all of it where the strongest minutes of its stretches differ so much, and by nothing where they are alike."""
UNEVEN_UNKNOWN = 0.5
"""Until there are three stretches to compare."""
STRETCH_BINS = 36
"""Three minutes at least…"""
STRETCHES = 8
"""…and so many of them in a longer record."""
MINUTE_BINS = 12
YOUNG_LEADS, OLD_LEADS = 2.0, 4.0
"""Cold starts until doubt begins to fade, and until it is gone."""
YOUNG_S, OLD_S = 600.0, 1800.0
"""…and not before these ages: bursts come by the minute, however fast a start is."""
SPENT_SHARE = 0.6
"""Of what the promise allows to be missed, how much a rule may have missed in its replay."""


def newness(age_s: float, cold_s: float) -> float:
    """1 until two cold starts old, 0 from four on: how much the operator's own fleet still counts."""
    return min(1.0, max(0.0, (OLD_LEADS - age_s / max(1.0, cold_s)) / (OLD_LEADS - YOUNG_LEADS)))


def youth(age_s: float, cold_s: float) -> float:
    """1 while nothing is known, 0 when enough was seen: how much worse than the record the future may be."""
    grown_s, old_s = max(YOUNG_S, YOUNG_LEADS * cold_s), max(OLD_S, OLD_LEADS * cold_s)
    return min(1.0, max(0.0, (old_s - age_s) / (old_s - grown_s)))


def unevenness(works: Sequence[float]) -> float:
    """How much the strongest minutes of the record's stretches differ: their standard deviation over their mean."""
    stretch = max(STRETCH_BINS, len(works) // STRETCHES)
    peaks = []
    for first in range(0, len(works) - stretch // 2, stretch):
        last = min(first + stretch, len(works))
        peaks.append(max([sum(works[place : place + MINUTE_BINS]) for place in range(first, last, MINUTE_BINS // 2)]))
    mean = sum(peaks) / len(peaks) if peaks else 0.0
    if len(peaks) < 3 or mean <= 0:
        return UNEVEN_UNKNOWN
    return sqrt(sum([(peak - mean) ** 2 for peak in peaks]) / (len(peaks) - 1)) / mean


def stressed(works: Sequence[float], young: float) -> list[float]:
    """The demand to be ready for."""
    if not works:
        return []
    mean = sum(works) / len(works)
    margin = 1.0 + YOUNG_MARGIN * young
    stretch = YOUNG_STRETCH * young * min(1.0, unevenness(works) / UNEVEN_FULL)
    return [margin * (work + max(0.0, work - mean) * stretch) for work in works]
