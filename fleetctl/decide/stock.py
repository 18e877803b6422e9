"""How many Slots stand by where the file leaves it to fleetctl (`standby: auto`) and the policy does not say.

Standby is a base stock: a Slot that is taken is ordered anew at once, and is back one cold start later. So what may be
asked of it is the starts wanted within one cold start. The stock is the smallest that those exceed with at most the
probability `1 − hit rate`; and the hit rate is a newsvendor's, `miss ÷ (miss + slot)`: a Slot pays for itself where
what it spares users, times how often it does, is more than it costs meanwhile.

Demand is told from the moves up of the last hours, both as a compound Poisson process of their rate and sizes (whose
distribution is Panjer's recursion) and, once there are enough, as it was: moves come in clusters more than chance has
it. The larger stock of the two holds.
"""

from collections import Counter
from dataclasses import replace
from functools import lru_cache
from math import ceil, exp, sqrt
from statistics import NormalDist

from fleetctl.decide.lead_times import expected, standby_for
from fleetctl.model.decisions import Inputs, Memory
from fleetctl.model.services import Tier
from fleetctl.model.snapshots import Intent

SLOT_SHARE = {Tier.HOT: 1.0, Tier.ASLEEP: 1.0, Tier.WARM: 1.0, Tier.STOPPED: 0.05}
"""Price of a Slot on standby, in Replicas: all but the stopped tier hold the machine; that one pays for its disk."""
MISS_WEIGHT = 20.0
"""A second that a wanted Replica is missing costs as much as so many seconds of one: with a Slot at a Replica's full
price that makes a hit rate of about 95 %, the usual promise of a stock."""
WINDOW_S = 8 * 3600.0
"""Moves as far back tell the demand: many cold starts, and not yet last night's."""
MOVES_MAX = 512
"""Moves remembered; where there are more, those in a shorter time tell enough."""
LEARN_LEADS = 10.0
"""Cold starts that a Service is watched before its moves are believed; until then one scale step stands by."""
AS_IT_WAS_MOVES = 20
"""Moves from which on demand is also taken as it was: fewer are anecdotes."""
POISSON_MOST = 500.0
"""Moves expected in one cold start up to which Panjer's recursion is begun; e⁻⁷⁰⁰ is no number any more, and so many
are normally distributed."""


def hit_rate(*, share: float, cold_s: float, standby_s: float) -> float:
    """The probability in [0, 1) that a Slot is there when it is wanted, which pays best.

    A miss costs the time that a cold start takes longer, at `MISS_WEIGHT`; a Slot costs `share` of a Replica for the
    cold start that it takes to be ordered anew.
    """
    miss = MISS_WEIGHT * max(0.0, cold_s - standby_s)
    slot = share * cold_s
    return miss / (miss + slot) if miss > 0 else 0.0


@lru_cache(maxsize=1024)
def base_stock(
    ups: tuple[tuple[float, int], ...], *, since: float, until: float, lead_s: float, hit: float, step: int, most: int
) -> int:
    """The smallest stock up to `most` that demand within `lead_s` exceeds with a probability of at most `1 − hit`.

    `ups` are (seconds, Replicas) of all starts wanted between `since` and `until`, oldest first. One of a step's size
    is added to them, so that a quiet time is not taken for a promise.
    """
    if hit <= 0 or most <= 0:
        return 0
    sizes = [size for _, size in ups] + [step]
    per_lead = len(sizes) * lead_s / (until - since)
    stock = compound_poisson_quantile(per_lead, sizes, hit, most)
    if len(ups) >= AS_IT_WAS_MOVES:
        stock = max(stock, _as_it_was(ups, since, until, lead_s, hit))
    return min(most, stock)


def compound_poisson_quantile(events: float, sizes: list[int], share: float, most: int) -> int:
    """The smallest number up to `most` that a Poisson number of events, each of one of those sizes, stays within.

    `events` is the mean number, `share` the probability asked for; each of `sizes`, at least 1, is as likely.
    """
    mean_size = sum(sizes) / len(sizes)
    if events > POISSON_MOST:
        spread = sqrt(events * sum(size * size for size in sizes) / len(sizes))
        return min(most, max(0, ceil(events * mean_size + NormalDist().inv_cdf(share) * spread)))
    weights = [(size, size * count / len(sizes) * events) for size, count in sorted(Counter(sizes).items())]
    chances = [exp(-events)]
    total = chances[0]
    while total < share and len(chances) <= most:
        number = len(chances)
        chances.append(sum(weight * chances[number - size] for size, weight in weights if size <= number) / number)
        total += chances[-1]
    return min(most, len(chances) - 1)


def _as_it_was(ups: tuple[tuple[float, int], ...], since: float, until: float, lead_s: float, hit: float) -> int:
    """The same of the demand that there was: for each moment, of the lead before it."""
    changes = sorted([(at, size) for at, size in ups] + [(at + lead_s, -size) for at, size in ups])
    spent: dict[int, float] = {}
    demand, at = 0, since
    for when, size in changes:
        when = min(max(when, since), until)
        spent[demand] = spent.get(demand, 0.0) + when - at
        demand, at = demand + size, when
    spent[demand] = spent.get(demand, 0.0) + until - at
    allowed = (1 - hit) * (until - since)
    left = until - since
    for stock in sorted(spent):
        left -= spent[stock]
        if left <= allowed:
            return stock
    return max(spent)


def sized(intent: Intent, inputs: Inputs, memory: Memory, desired: int) -> Memory:
    """The Memory with the Slots that shall stand by beside `desired` Replicas; None in it: the file says how many.

    Where the policy says, it is what the policy says. Never more than `max` leaves.
    """
    service = intent.service
    standby = standby_for(service, inputs)
    if not standby.auto:
        return memory if memory.standby is None else replace(memory, standby=None)
    wanted = memory.standby
    if service.scaling.policy != "auto" or (memory.learning is not None and not memory.learning.arrivals_known):
        wanted = _own(intent, inputs, memory, SLOT_SHARE[standby.tier])
    if wanted is None:
        return memory if memory.standby is None else replace(memory, standby=None)
    return replace(memory, standby=max(0, min(wanted, service.scaling.max - desired)))


def _own(intent: Intent, inputs: Inputs, memory: Memory, share: float) -> int | None:
    """By the moves; None: it was watched for too short a time."""
    times = expected(intent.service, inputs, memory)
    now, cold_s = inputs.at, float(ceil(times.cold_s))
    seen_since = intent.changed_at
    if memory.moves and (len(memory.moves) >= MOVES_MAX or memory.moves[0][0] < seen_since):
        seen_since = memory.moves[0][0]
    since = max(now - WINDOW_S, seen_since)
    if now - since < min(WINDOW_S, LEARN_LEADS * cold_s):
        return None
    # By the minute, so that a tick need not count again what the last one counted.
    until = 60.0 * ceil(now / 60.0)
    since = 60.0 * ceil(since / 60.0)
    ups = tuple([(at, change) for at, change in memory.moves if change > 0 and since < at])
    hit = hit_rate(share=share, cold_s=cold_s, standby_s=times.standby_s)
    scaling = intent.service.scaling
    return base_stock(ups, since=since, until=until, lead_s=cold_s, hit=hit, step=scaling.step, most=scaling.max)


def kept(moves: tuple[tuple[float, int], ...], needed_since: float) -> tuple[tuple[float, int], ...]:
    """The moves, the oldest beyond `MOVES_MAX` dropped as far as nothing else needs them."""
    first = 0
    while len(moves) - first > MOVES_MAX and moves[first][0] < needed_since:
        first += 1
    return moves[first:]
