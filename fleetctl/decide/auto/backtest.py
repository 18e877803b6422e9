"""Rules tried on the brain's own past: which would have kept the promise, and what it would have cost.

A rule wants `gain × mean work over a window + extra` replicas, the most of that over the hold, rounded up. The
constant rule has gain 0. Replayed, what a rule wants is ready a cold start later; up to `standby` units are ready a
standby start later, and a unit taken from standby is back a cold start later. That is the same as ordering a cold one
and borrowing meanwhile, so the fleet that is ready is min(wanted since the short lead, wanted since the long lead +
standby).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from fleetctl.decide.auto.requirement import misses
from fleetctl.model.learning import BIN_S, Rule

STEPS = 7
"""Halvings of the search for `extra`: to a hundredth of the range."""
SEEN_LATE_BINS = 2
"""Signals are a bin or two old when they are acted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    rule: Rule
    cost: float
    """Replica-bins."""


def base(works: Sequence[float], window_s: float, gain: float) -> list[float]:
    """`gain` × the mean work per second over the window, known at the beginning of each bin."""
    bins = max(1, round(window_s / BIN_S))
    wanted = []
    running = 0.0
    for place in range(len(works)):
        newest = place - SEEN_LATE_BINS
        if newest >= 0:
            running += works[newest]
        if newest - bins >= 0:
            running -= works[newest - bins]
        covered = min(bins, newest + 1)
        wanted.append(gain * max(0.0, running) / (covered * BIN_S) if covered > 0 else 0.0)
    return wanted


def most(values: Sequence[float], bins: int) -> list[float]:
    """The largest of each value and the `bins` before it."""
    found: list[float] = []
    ahead: deque[int] = deque()
    for place, value in enumerate(values):
        while ahead and values[ahead[-1]] <= value:
            ahead.pop()
        ahead.append(place)
        if ahead[0] < place - bins:
            ahead.popleft()
        found.append(values[ahead[0]])
    return found


def least(values: Sequence[float], bins: int) -> list[float]:
    """The smallest of each value and the `bins` before it."""
    return [-value for value in most([-value for value in values], bins)]


def tried(
    works: Sequence[float],
    arrivals: Sequence[float],
    *,
    window_s: float,
    gain: float,
    standby: int,
    standby_share: float,
    hold_s: float,
    cold_s: float,
    standby_s: float,
    allowed: float,
    wait_s: float,
    limit: int,
) -> Tried | None:
    """The rule with the smallest `extra` up to `limit` that misses no more than `allowed`; None if there is none."""
    wanted = most(base(works, window_s, gain), round(hold_s / BIN_S))
    most_extra = float(limit)
    slow = least(wanted, ceil(cold_s / BIN_S))
    quick = least(wanted, ceil(standby_s / BIN_S)) if standby else slow

    def fleet(extra: float) -> list[int]:
        if not standby:
            return [min(limit, ceil(one + extra)) for one in slow]
        return [min(limit, ceil(a + extra), ceil(b + extra) + standby) for a, b in zip(quick, slow, strict=True)]

    if misses(works, arrivals, fleet(most_extra), wait_s) > allowed:
        return None
    low, high = 0.0, most_extra
    if misses(works, arrivals, fleet(0.01), wait_s) <= allowed:
        high = 0.01
    else:
        for _ in range(STEPS):
            extra = (low + high) / 2
            if misses(works, arrivals, fleet(extra), wait_s) <= allowed:
                high = extra
            else:
                low = extra
    cost = float(sum([min(limit, ceil(one + high)) for one in wanted]))
    if standby:
        quickly = [min(limit, ceil(one + high)) for one in wanted]
        slowly = [min(limit, ceil(one + high)) for one in slow]
        borrowed = sum([min(standby, now - later) for now, later in zip(quickly, slowly, strict=True)])
        # What is borrowed is ordered anew and billed in full while it boots, and meanwhile does not stand by.
        cost += standby_share * standby * len(works) + (1 - standby_share) * borrowed
    return Tried(rule=Rule(window_s=window_s, gain=gain, extra=round(high, 4), standby=standby, limit=limit), cost=cost)
