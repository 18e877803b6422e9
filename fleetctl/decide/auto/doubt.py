"""How much worse the future is taken to be than what was seen: much while the brain is young, a little for ever."""

from collections.abc import Sequence

MARGIN = 1.1
"""Demand is inflated by this at any age: the work model is right to some ten percent."""
YOUNG_MARGIN = 0.06
"""…and by this more while young."""
YOUNG_STRETCH = 0.3
"""While young, what exceeds the mean is taken to be this much larger: a short past has not seen the worst burst."""
OLD_STRETCH = 0.1
YOUNG_LEADS, OLD_LEADS = 2.0, 4.0
"""Cold starts until doubt begins to fade, and until it is gone."""
YOUNG_S, OLD_S = 1200.0, 3000.0
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


def stressed(works: Sequence[float], young: float) -> list[float]:
    """The demand to be ready for."""
    if not works:
        return []
    mean = sum(works) / len(works)
    margin = MARGIN + YOUNG_MARGIN * young
    stretch = 1.0 + OLD_STRETCH + (YOUNG_STRETCH - OLD_STRETCH) * young
    return [margin * max(0.0, work + max(0.0, work - mean) * (stretch - 1.0)) for work in works]
