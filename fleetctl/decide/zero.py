"""Scale to zero: how long an idle replica is kept, when keeping it costs money and starting it again costs more.

This is ski rental. A replica idles at one replica-second per second; letting it go costs a restart, once, if a request
comes later. With the restart priced at `P` seconds of idling, who knows nothing keeps the replica for `P` and never
pays more than twice what foresight would (Karlin et al., "Competitive snoopy caching", Algorithmica 1988).

Idle gaps of sparse services have heavy tails: having waited `g` without a request, the chance of one in the next
instant falls as `a / g`. It is worth waiting while that chance, times `P`, is more than the second costs: until
`g = a · P`. So the rule keeps the break-even time, stretched by the tail index `a` that the service's own gaps show
around it (Hill, "A simple general approach to inference about the tail of a distribution", Annals of Statistics 1975).
`a` begins at one, which is break-even, and moves as far as there are gaps to say so. Short of it the index is kept
within bounds, so whatever the gaps did before, no cost is more than five times that of foresight.

What helps beyond that is to listen most to gaps that began as this one does: at the same time of day, after as many
others. `likeness` gives those weights.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log, log1p

GAPS_LIMIT = 1024
"""Gaps looked at, the newest: some four days of the busiest service that still goes to zero. Twice as many gained
nothing on recorded gaps, half as many lost some; and they are stored with the service's memory."""
GAP_LEAST_S = 30.0
"""Shorter gaps tell nothing of whether a restart pays, and are not kept: no retention is that short."""
SPAN = 4.0
"""The index is read off gaps between `P ÷ SPAN` and `P · SPAN`: further off, other causes rule (a night, a pause)."""
BELIEF = 3.0
"""How many gaps the break-even rule counts for: at three times as many, the service's own have most of the say."""
INDEX_LEAST, INDEX_MOST = 0.25, 4.0
"""Bounds of the index `a`; what is paid is at most 1 + max(a, 1 / a) times what foresight pays."""

DAY_S = 86_400.0
ALIKE_CLOCK_S = 7200.0
"""A standard deviation of the time of day: shifts change within some two hours."""
ALIKE_COUNT = 1.0
"""A standard deviation of the logarithm of how many gaps came before: 2.7 times as many is another kind of time."""
BEFORE_S = (600.0, 21_600.0)
"""How far back they are counted: is somebody at it just now, and is it a busy part of the day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleGap:
    """One stretch without any request queued or running, ended by a request."""

    began_at: float
    """Epoch seconds, or any clock on which days are 86,400 s long."""
    length_s: float


def remember(gaps: tuple[IdleGap, ...], gap: IdleGap) -> tuple[IdleGap, ...]:
    """The gaps with one more, the oldest beyond `GAPS_LIMIT` dropped; one too short to tell anything is not added.

    A gap that began before the last one (a clock set back) starts the history anew.
    """
    if not (isfinite(gap.began_at) and isfinite(gap.length_s)) or gap.length_s < GAP_LEAST_S:
        return gaps
    if gaps and gap.began_at < gaps[-1].began_at:
        return (gap,)
    return (*gaps[-(GAPS_LIMIT - 1) :], gap)


def retention_s(
    gaps: Sequence[float],
    *,
    restart_s: float,
    restart_weight: float,
    most_s: float,
    weights: Sequence[float] | None = None,
) -> float:
    """How long to keep the last replica idle, in seconds from when it became idle; at most `most_s`.

    `gaps` are the lengths of idle gaps, oldest first, of which the newest `GAPS_LIMIT` count; `weights`, as many,
    say how much each counts (none: alike). A restart costs as much as `restart_s · restart_weight` of idling:
    `restart_s` is the measured cold start, `restart_weight` what a second of it is worth to the user. Gaps and weights
    that are negative or not finite count for nothing. Deterministic, O(n).
    """
    price_s = restart_s * restart_weight
    if not price_s > 0 or not most_s > 0:
        return 0.0
    if not isfinite(price_s):
        return most_s
    least_s, span_s = _least_s(price_s), price_s * SPAN
    ended = waited = BELIEF
    lengths = gaps[-GAPS_LIMIT:]
    likes = [1.0] * len(lengths) if weights is None else weights[-GAPS_LIMIT:]
    for length_s, like in zip(lengths, likes, strict=True):
        # Written so that NaN counts for nothing, too.
        if not (length_s > least_s and isfinite(length_s) and 0 < like < float("inf")):
            continue
        if length_s < span_s:
            ended += like
            waited += like * log(length_s / least_s)
        else:
            waited += like * log(span_s / least_s)
    index = min(INDEX_MOST, max(INDEX_LEAST, ended / waited))
    return min(most_s, index * price_s)


def likeness(gaps: Sequence[IdleGap], began_at: float, *, least_s: float = 0.0) -> list[float]:
    """How like a gap that begins at `began_at` each of the gaps is, 0 to 1: by time of day, and by what came before.

    One weight for each gap, oldest first; those not longer than `least_s` count as others do, but weigh nothing
    themselves. Gaps are in order of time. O(n).
    """
    times = [gap.began_at for gap in gaps]
    now = [log1p(len(times) - bisect_left(times, began_at - before_s)) for before_s in BEFORE_S]
    firsts = [0] * len(BEFORE_S)
    found = []
    for index, gap in enumerate(gaps):
        if gap.length_s <= least_s:
            found.append(0.0)
            continue
        at = gap.began_at
        off = abs(began_at - at) % DAY_S
        apart = (min(off, DAY_S - off) / ALIKE_CLOCK_S) ** 2
        for which, before_s in enumerate(BEFORE_S):
            first = firsts[which]
            while times[first] < at - before_s:
                first += 1
            firsts[which] = first
            apart += ((now[which] - log1p(index - first)) / ALIKE_COUNT) ** 2
        found.append(exp(-apart / 2))
    return found


def kept_s(
    gaps: Sequence[IdleGap], began_at: float, *, restart_s: float, restart_weight: float, most_s: float
) -> float:
    """`retention_s` of a replica that became idle at `began_at`, each gap weighed by its `likeness`."""
    recent = gaps[-GAPS_LIMIT:]
    return retention_s(
        [gap.length_s for gap in recent],
        restart_s=restart_s,
        restart_weight=restart_weight,
        most_s=most_s,
        weights=likeness(recent, began_at, least_s=_least_s(restart_s * restart_weight)),
    )


def _least_s(price_s: float) -> float:
    """The shortest gap that says something about keeping for about that long."""
    return max(GAP_LEAST_S, price_s / SPAN)
