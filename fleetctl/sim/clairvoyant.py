"""The cheapest schedule known afterwards: what a fleet would have cost had the whole trace been known.

A `Plan` says how many replicas are ready in each bin of `BIN_S`. Whoever knows the future orders ahead, so the lead
time costs no wait; it costs money: each launch is billed for the median cold start in which it boots. Standby is of
no use to foresight (a unit boots at full price, too). The plan serves in the same `service_world`, and is made in
three steps:

1. *What each fleet size would have missed.* The trace is cut into blocks, and each is played at every constant
   fleet that matters, after a warm-up. That gives misses by bin and size, with batch limits and long prompts in
   them.
2. *The cheapest path through the sizes*, for a price λ of a miss: bins × sizes, going up costs a boot, going down
   nothing. This step is exact. λ is searched until the path, played for real, just keeps the promise.
3. *Polish, by playing for real.* Each stretch at each level is shortened, lengthened, dropped or joined with its
   neighbour where that lowers cost + λ · misses, judged on a window around it, with λ falling until what the promise
   allows to be missed is spent. The result is played whole, and is only given out if it keeps the promise.

Not proven cheapest: `work_floor_hours` is what no fleet can beat (all work, at a full batch, with no idle moment
and no boot), and the truth lies between the two. In tiny worlds the plan equals exhaustive search (tests).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from fleetctl.decide.lines import ServiceLine
from fleetctl.sim.reports import Report
from fleetctl.sim.scalers import Constant, Wish
from fleetctl.sim.service_world import ServiceRun, play
from fleetctl.sim.traces import Trace
from fleetctl.sim.worlds import World

BIN_S = 10.0
"""Finer than any burst that can be answered by a fleet; short beside the cheapest boot."""
BLOCK_BINS = 30
"""Five minutes: a fleet too small for the block shows it, and the backlog it leaves is no longer."""
WARM_BINS = 9
"""Played before a block and a window, so that batches are as full as they would be: longer than most answers."""
TAIL_BINS = 24
"""Played after a changed stretch, to see the backlog that it leaves."""
SIZE_LIMIT = 400
"""Larger fleets are not looked at, whatever the world allows: forty times what the recorded traces need."""
TABLE_STEPS = 7
"""Halvings of the search for the misses that the table may show; each plays the whole trace."""
PRICE_STEPS = 14
"""Halvings of the search for λ: its solutions jump, and finer than this there are none between."""
WHOLE_REQUESTS = 5_000
"""Up to here each change of the polish is judged by playing the whole trace; beyond, by a window."""
CUTS_BINS = (1, 2, 3, 4, 6, 9)
"""How much of a stretch's end is tried to be cut, beside its half and its quarter."""
OVERDRAWN_PASSES = 5
"""Passes of the polish that may end with too many misses; more only wander."""
POLISH_REQUESTS = 8_000_000
"""Requests played in the polish, over all windows: some forty seconds of one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Replicas ready in each bin of BIN_S; the last holds on. As a Scaler it wants just that."""

    sizes: tuple[int, ...]

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        place = min(len(self.sizes) - 1, int(now / BIN_S + 1e-6))
        return Wish(desired=self.sizes[place], reason="known beforehand")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clairvoyant:
    """A plan that keeps the promise, and what it costs; or, where no fleet that is allowed does, the largest one."""

    plan: Plan
    report: Report
    """Of the plan played; its hours leave out the boots. Its `kept` says which of the two this is."""
    replica_hours: float
    """Boots included."""
    gpu_hours: float
    peak: int
    work_floor_hours: float
    """Replica-hours below which no fleet can do the work."""
    constant: int
    """Size of the smallest constant fleet that keeps the promise, or of the largest that is allowed…"""
    constant_hours: float
    """…and its replica-hours."""


def clairvoyant(world: World, trace: Trace, *, polish_requests: int = POLISH_REQUESTS) -> Clairvoyant:
    """The best schedule found. Stock-outs and reclaims are left out: it would have ordered around them.

    No fleet is larger than the world's `replicas_max`. Where the largest does not keep the promise, no schedule does,
    and it is given out as it is.
    """
    judge = _Judge(world, trace)
    constant = best_constant(world, trace)
    fixed = judge.whole([constant] * judge.bins)
    plan = _scheduled(judge, constant, polish_requests) if fixed.report.kept else [constant] * judge.bins
    played = judge.whole(plan)
    replica_hours = played.cost_s / 3600
    return Clairvoyant(
        plan=Plan(sizes=tuple(plan)),
        report=played.report,
        replica_hours=replica_hours,
        gpu_hours=replica_hours * world.gpus,
        peak=max(plan),
        work_floor_hours=work_floor_hours(world, trace),
        constant=constant,
        constant_hours=constant * trace.duration_s / 3600,
    )


def work_floor_hours(world: World, trace: Trace) -> float:
    """Replica-hours of the work alone: every prompt read, every token made in a full batch."""
    pace = world.pace
    batch = pace.concurrency
    token_s = pace.token_s * (1 + pace.growth * (batch - 1)) / batch
    if pace.growth > 1:
        token_s = min(token_s, pace.token_s)
    return (pace.prefill_s_per_token * sum(trace.input_tokens) + token_s * sum(trace.output_tokens)) / 3600


def best_constant(world: World, trace: Trace) -> int:
    """The smallest constant fleet that keeps the promise; the largest that is allowed, where none does."""
    calm, limit = _calm(world), _limit(world)

    def keeps(size: int) -> bool:
        return play(replace(calm, replicas_start=size), trace, Constant(replicas=size)).kept

    high = min(limit, max(1, math.ceil(work_floor_hours(world, trace) * 3600 / max(trace.duration_s, 1.0))))
    low = 0
    while not keeps(high):
        if high == limit:
            return limit
        low, high = high, min(limit, math.ceil(high * 1.5))
    while high - low > 1:
        size = (low + high) // 2
        low, high = (low, size) if keeps(size) else (size, high)
    return high


def _limit(world: World) -> int:
    """Size of the largest fleet that is looked at."""
    return min(SIZE_LIMIT, world.replicas_max)


def _calm(world: World) -> World:
    """The same without leads and mishaps, on the plan's grid: what a plan is played in."""
    return replace(world, cold_start=(), standby=0, tick_s=BIN_S, stock_outs=(), reclaims_per_hour=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Played:
    cost_s: float
    """Replica-seconds, boots included."""
    misses: int
    report: Report


@dataclass(slots=True, kw_only=True)
class _Window:
    trace: Trace
    known: dict[tuple[int, ...], _Played] = field(default_factory=dict)


class _Judge:
    """Plays plans, whole or a window of them, and remembers what it played."""

    def __init__(self, world: World, trace: Trace) -> None:
        self.world = _calm(world)
        self.trace = trace
        self.lead_s = world.cold_start_s
        self.bins = max(1, math.ceil(trace.duration_s / BIN_S))
        self.requests_played = 0
        self._windows: dict[tuple[int, int], _Window] = {}

    def whole(self, sizes: Sequence[int]) -> _Played:
        return self.window(sizes, 0, self.bins)

    def window(self, sizes: Sequence[int], first: int, last: int) -> _Played:
        """Bins `first` up to `last`, from an empty fleet of the size that the plan has there."""
        window = self._windows.get((first, last))
        if window is None:
            if (first, last) == (0, self.bins):
                window = _Window(trace=self.trace)
            else:
                window = _Window(trace=self.cut(first, last))
            self._windows[first, last] = window
        key = tuple(sizes[first:last])
        played = window.known.get(key)
        if played is None:
            played = self._play(window.trace, key)
            window.known[key] = played
        return played

    def cut(self, first: int, last: int) -> Trace:
        return self.trace.slice(first * BIN_S, (last - first) * BIN_S)

    def _play(self, trace: Trace, sizes: tuple[int, ...]) -> _Played:
        self.requests_played += len(trace)
        report = play(replace(self.world, replicas_start=sizes[0]), trace, Plan(sizes=sizes))
        return _Played(
            cost_s=report.replica_hours * 3600 + self.lead_s * report.launches,
            misses=report.requests - report.within,
            report=report,
        )


def _scheduled(judge: _Judge, constant: int, polish_requests: int) -> list[int]:
    """The cheapest sizes found, bin by bin, that keep the promise; `constant` of them throughout do."""
    allowed = math.floor((1 - judge.world.promised_share) * len(judge.trace) + 1e-9)
    misses = _misses_by_size(judge, constant)
    best = [constant] * judge.bins
    best_cost_s = judge.whole(best).cost_s
    price = 0.0
    # Blocks leave out what one passes on to the next, and what a growing fleet is spared: so the table's misses are not
    # those of the path played whole, and how many may stand in the table is itself searched for.
    low, high = 0.0, 2.0 * allowed
    for _ in range(TABLE_STEPS):
        limit = (low + high) / 2
        path, tried = _path_within(misses, limit, judge.lead_s)
        played = judge.whole(path)
        if played.misses > allowed:
            high = limit
            continue
        low = limit
        if played.cost_s < best_cost_s:
            best, best_cost_s, price = path, played.cost_s, tried
    return _polished(judge, best, price or best_cost_s / (allowed + 1), allowed, polish_requests)


def _misses_by_size(judge: _Judge, constant: int) -> list[list[int]]:
    """For each bin, the misses at each fleet size from 0 up to the largest of interest."""
    table: list[list[int]] = []
    limit = _limit(judge.world)
    for first in range(0, judge.bins, BLOCK_BINS):
        last = min(judge.bins, first + BLOCK_BINS)
        warm = min(WARM_BINS, first)
        trace = judge.cut(first - warm, last)
        arrived = [0] * (last - first)
        for arrival_s in trace.arrivals_s:
            place = int(arrival_s / BIN_S) - warm
            if 0 <= place < len(arrived):
                arrived[place] += 1
        by_size = [arrived]
        smallest = math.floor(work_floor_hours(judge.world, trace) * 3600 / ((last - first + warm) * BIN_S) * 0.7)
        size = 0
        while any(by_size[-1]) and size < limit:
            size += 1
            if size < smallest:
                by_size.append(arrived)
                continue
            run = ServiceRun(replace(judge.world, replicas_start=size), trace, Constant(replicas=size))
            run.play()
            missed = [0] * (last - first)
            for arrival_s, wait_s in zip(trace.arrivals_s, run.waits(), strict=True):
                place = int(arrival_s / BIN_S) - warm
                if place >= 0 and wait_s > judge.world.wait_limit_s:
                    missed[min(place, len(missed) - 1)] += 1
            by_size.append(missed)
            if size > 2 * constant + 4:
                break
        table += [[missed[place] for missed in by_size] for place in range(last - first)]
    largest = max(len(row) for row in table)
    return [row + [row[-1]] * (largest - len(row)) for row in table]


def _path_within(misses: Sequence[Sequence[int]], limit: float, lead_s: float) -> tuple[list[int], float]:
    """The cheapest path found whose misses by the table stay within `limit`, and the price of a miss that led to it."""
    low, high = 0.01, (lead_s + BIN_S) * len(misses[0])
    best = _cheapest_path(misses, high, lead_s)
    for _ in range(PRICE_STEPS):
        price = math.sqrt(low * high)
        path = _cheapest_path(misses, price, lead_s)
        if sum([row[size] for row, size in zip(misses, path, strict=True)]) <= limit:
            best, high = path, price
        else:
            low = price
    return best, high


def _cheapest_path(misses: Sequence[Sequence[int]], price: float, lead_s: float) -> list[int]:
    """The sizes, bin by bin, that minimise replica-seconds + `lead_s` per launch + `price` per miss."""
    sizes = len(misses[0])
    costs = [0.0] * sizes
    came_from: list[list[int]] = []
    for row in misses:
        # From above it is free to come down; from below each step up costs a boot.
        source = list(range(sizes))
        reached = list(costs)
        for size in range(sizes - 2, -1, -1):
            if reached[size + 1] < reached[size]:
                reached[size], source[size] = reached[size + 1], source[size + 1]
        for size in range(1, sizes):
            if reached[size - 1] + lead_s < reached[size]:
                reached[size], source[size] = reached[size - 1] + lead_s, source[size - 1]
        came_from.append(source)
        costs = [reached[size] + size * BIN_S + price * row[size] for size in range(sizes)]
    size = min(range(sizes), key=costs.__getitem__)
    path = []
    for source in reversed(came_from):
        path.append(size)
        size = source[size]
    return path[::-1]


def _polished(judge: _Judge, sizes: list[int], price: float, allowed: int, requests: int) -> list[int]:
    """A cheaper plan that still keeps the promise, by changes of one stretch at a time, in passes over all of them.

    A pass that ends with too many misses is followed by one in which a miss costs more, and one that ends with some to
    spare by one in which it costs less; so the plan circles around the promise, and the cheapest that kept it stays.
    """
    deadline = judge.requests_played + requests
    plan, best = sizes, sizes
    best_cost_s = judge.whole(best).cost_s
    least_price, overdrawn = price / 200, 0
    while price > least_price and overdrawn < OVERDRAWN_PASSES and judge.requests_played < deadline:
        spare = allowed - judge.whole(plan).misses
        # Windows leave out what reaches beyond them, so only half of what is left is given away by their word.
        plan = _descend(judge, plan, price, max(0, (spare + 1) // 2), deadline)
        played = judge.whole(plan)
        if played.misses > allowed:
            overdrawn += 1
            price *= 1.5
        else:
            price *= 0.6
            if played.cost_s < best_cost_s:
                best, best_cost_s = plan, played.cost_s
    return best


def _descend(judge: _Judge, plan: list[int], price: float, spare: int, deadline: int) -> list[int]:
    """One pass over all stretches of the plan; misses beyond those of the plan given stay within `spare`."""
    for first, last, level in _stretches(plan):
        if judge.requests_played > deadline:
            break
        for other in _neighbours(plan, first, last, level):
            differing = [place for place in range(len(plan)) if plan[place] != other[place]] if other else []
            if not differing:
                continue
            begin = max(0, differing[0] - WARM_BINS)
            end = min(judge.bins, differing[-1] + 1 + TAIL_BINS)
            if end - begin > judge.bins // 2 or len(judge.trace) <= WHOLE_REQUESTS:
                begin, end = 0, judge.bins
            now, then = judge.window(plan, begin, end), judge.window(other, begin, end)
            more = then.misses - now.misses
            if then.cost_s - now.cost_s + price * more < -1e-6 and more <= spare:
                plan = other
                spare -= more
                break
    return plan


def _stretches(plan: Sequence[int]) -> list[tuple[int, int, int]]:
    """Every maximal run of bins, first and past the last, in which the plan has at least `level` replicas."""
    found = []
    open_since: list[int] = []
    for place, size in enumerate([*plan, 0]):
        while len(open_since) > size:
            found.append((open_since.pop(), place, len(open_since) + 1))
        while len(open_since) < size:
            open_since.append(place)
    return sorted(found, key=lambda stretch: (stretch[1] - stretch[0], stretch))


def _neighbours(plan: list[int], first: int, last: int, level: int) -> list[list[int]]:
    """Plans with that stretch dropped, cut by some bins at either end, or lengthened."""
    if any(size < level for size in plan[first:last]):
        return []  # an earlier change took it away
    others = [_lowered(plan, first, last, level)]
    length = last - first
    for cut in sorted({length // 2, length // 4, *CUTS_BINS}, reverse=True):
        if 0 < cut < length:
            others.append(_lowered(plan, first, first + cut, level))
            others.append(_lowered(plan, last - cut, last, level))
    for more in (1, 3):
        others.append(_raised(plan, first - more, first, level))
        others.append(_raised(plan, last, last + more, level))
    following = next((place for place in range(last, len(plan)) if plan[place] >= level), None)
    if following is not None:
        others.append(_raised(plan, last, following, level))
    return others


def _lowered(plan: list[int], first: int, last: int, level: int) -> list[int]:
    """That stretch of the plan below `level`."""
    return plan[:first] + [min(size, level - 1) for size in plan[first:last]] + plan[last:]


def _raised(plan: list[int], first: int, last: int, level: int) -> list[int]:
    """That stretch of the plan at `level` or above."""
    first, last = max(0, first), min(len(plan), last)
    return plan[:first] + [max(size, level) for size in plan[first:last]] + plan[last:]
