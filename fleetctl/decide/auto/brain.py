"""One tick of `auto`: what was kept, what is seen and the time go in; a wish and what to keep come out."""

from dataclasses import dataclass, replace
from math import ceil, inf, isfinite, sqrt
from typing import NamedTuple

from fleetctl.decide.auto import calm
from fleetctl.decide.auto.backtest import Tried, tried
from fleetctl.decide.auto.calm import raw_load
from fleetctl.decide.auto.demand import asked_tokens, learned, use, work, work_per_request_s
from fleetctl.decide.auto.doubt import SPENT_SHARE, newness, stressed, youth
from fleetctl.decide.auto.leads import COLD_GUESS_S, STANDBY_GUESS_S, Lead, lead, watched
from fleetctl.decide.auto.misses import LEVEL_S, counted, waited
from fleetctl.decide.auto.record import extended
from fleetctl.decide.auto.requirement import smallest_constant
from fleetctl.decide.auto.trend import found, lifted
from fleetctl.model.learning import BIN_S, Leads, Learned, Misses, Rule

BACKTEST_EVERY_S = 120.0
"""A twentieth of a percent of a core per service; a rule is good for much longer."""
FIRST_BACKTEST_S = 60.0
"""With less history there is nothing to learn from."""
HOLD_LEADS = 0.7
"""The fleet shrinks to the most that was wanted over this many cold starts: giving up a replica that is wanted again
within a cold start costs more than keeping it (ski rental)."""
FOLLOW_LEADS = 3.0
"""History, in cold starts, before a rule that follows the load may be chosen."""
FOLLOW_GAIN = 0.95
"""…and it must cost no more than this share of the best constant fleet."""
WINDOWS_S = (60.0, 300.0, 1200.0)
QUICK_WINDOWS_S = (30.0, 120.0)
"""With standby, a start is so short that a short mean is worth following."""
GAINS = (1.0, 1.4)
START_LIMIT = 1.6
"""Once it begins to fade, the operator's own fleet counts for no more than this times what seems needed."""
RECENT_BINS = 12
"""A minute: the rate now."""
RECENT_MARGIN = 1.08
"""Over the rate, at any time: a fleet at its very rate never works off what waits."""
SPARE_BINS = 120
"""Ten minutes: a level, not a burst."""
SPARE = 0.35
"""Replicas beyond the level, per square root of it. Matters for fleets of one to three, whose bursts are rare and whose
record says that one would have done."""
BACKLOG_SHARE = 0.5
"""A backlog counts from this share of what the promise lets wait: less is the noise of arrivals."""
KEEP_SHARE = 0.1
"""…and from this share on, nothing is given up."""
DRAIN_LEADS = 0.5
"""A backlog is to be gone this many cold starts after what is ordered for it is ready."""
IDLE_S = 900.0
"""Without a request for this long, a fleet that may go to zero does."""
HELD = "signal"
"""The binding of a wish for what there is, because something cannot be known."""
WAITS = 0.5
"""Requests queued on average over a tick, from which somebody waits: less is a moment between two others."""
DRAIN_SHARE = 0.15
"""A backlog may add this share of the load to what is ordered: it is worked off in the time that this takes, and a
surge is not ordered twice over."""
DRAIN_SPARE = 0.5
"""…and half a replica, so that the smallest fleets get one."""
YOUNG_DRAIN_SHARE = 1.0
"""…but while young and far too small it may add this share: such a fleet loses every request until it has caught up."""
FAR_TOO_SMALL = 1.5
"""The load, over what is ready."""


_NO_RULE = f"no load so far, and no rule is chosen within the first {FIRST_BACKTEST_S:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What the operator says. Everything else is learned."""

    batch: int = 16
    """Requests that a replica works on at once."""
    minimum: int = 1
    maximum: int = 100
    wait_s: float = 5.0
    """The promise: this long may a request wait…"""
    percentile: float = 99.0
    """…and this share of them must not wait longer."""
    cold_s: float = COLD_GUESS_S
    standby_s: float = STANDBY_GUESS_S
    """First guesses of the leads."""
    standby_limit: int = 0
    """Most units kept on standby; 0: none."""
    standby_share: float = 0.5
    """Price of a unit on standby, in replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is seen at a tick. Signals cover the interval since the tick before; None is unknown, never zero."""

    ready: int
    starting_ages_s: tuple[float, ...] = ()
    draining: int = 0
    standby: int = 0
    concurrency: float | None = None
    queue: float | None = None
    arrivals: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    completed: float | None = None

    @property
    def ordered(self) -> int:
        return self.ready + len(self.starting_ages_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    desired: int
    """Ready + starting."""
    standby: int
    reason: str
    binding: str
    wanted: int = 0
    """Before `min` and `max`…"""
    because: str = ""
    """…and why."""


class _Want(NamedTuple):
    """What set a count, and a sentence."""

    replicas: float
    binding: str
    reason: str


def step(parameters: Parameters, state: Learned, seen: Observation, now: float) -> tuple[Wish, Learned]:
    """What is wanted now, and what to keep for the next tick."""
    standby = min(parameters.standby_limit, state.rule.standby if state.rule else 0)
    if state.at is None:
        state = replace(state, at=now, began=now, start=seen.ordered)
        state = replace(state, leads=replace(Leads(), ages=seen.starting_ages_s, ready=seen.ready))
        return _held(parameters, seen, standby, "the first look at this service"), state
    span_s = now - state.at
    if not 0 < span_s < inf:
        return _held(parameters, seen, standby, f"time went from {state.at:g} to {now:g}"), state
    guess = Lead(cold_s=parameters.cold_s, standby_s=parameters.standby_s)
    leads = watched(state.leads, span_s=span_s, ready=seen.ready, ages=seen.starting_ages_s, guess=guess)
    state = replace(state, at=now, leads=leads)
    missing = _unknown(seen)
    if missing:
        return _held(parameters, seen, standby, f"{missing} is unknown"), state
    state = _remembered(parameters, state, seen, span_s, now)
    times = lead(state.leads, guess)
    load = raw_load(state.record)
    state = replace(
        state,
        misses=_missed(parameters, state, seen, span_s, now),
        calm=calm.watched(state.calm, now=now, load=load, ready=seen.ready, waits=_queued(parameters, seen) >= WAITS),
    )
    if now - max(state.tested_at, state.began) >= (BACKTEST_EVERY_S if state.rule else FIRST_BACKTEST_S):
        state = replace(state, rule=_chosen(parameters, state, times, now), tested_at=now)
    return _wished(parameters, state, seen, times, now), state


def _unknown(seen: Observation) -> str:
    """The first signal that cannot be done without and is unknown, or empty."""
    for name, value in (
        ("concurrency", seen.concurrency),
        ("the number of arrivals", seen.arrivals),
        ("the number of input tokens", seen.input_tokens),
    ):
        if value is None or not isfinite(value) or value < 0:
            return name
    return ""


def _known(value: float | None) -> float | None:
    """None for what is no measurement, too."""
    return value if value is not None and isfinite(value) and value >= 0 else None


def _count(value: float | None) -> float:
    return _known(value) or 0.0


def _queued(parameters: Parameters, seen: Observation) -> float:
    """Requests that wait; where that is unknown, those for whom the batches have no room."""
    queue = _known(seen.queue)
    if queue is None:
        return max(0.0, _count(seen.concurrency) - parameters.batch * (seen.ready + seen.draining))
    return queue


def _held(parameters: Parameters, seen: Observation, standby: int, why: str) -> Wish:
    desired = min(parameters.maximum, max(parameters.minimum, seen.ordered))
    return Wish(desired=desired, standby=standby, reason=f"hold: {why}", binding=HELD)


def _remembered(parameters: Parameters, state: Learned, seen: Observation, span_s: float, now: float) -> Learned:
    arrivals, input_tokens = _count(seen.arrivals), _count(seen.input_tokens)
    pace = learned(
        state.pace,
        span_s=span_s,
        concurrency=_count(seen.concurrency),
        queue=_queued(parameters, seen),
        serving=seen.ready + seen.draining,
        arrivals=arrivals,
        input_tokens=input_tokens,
        output_tokens=_known(seen.output_tokens),
        completed=_known(seen.completed),
    )
    outputs = asked_tokens(pace, arrivals)
    record = extended(
        state.record, since=now - span_s, until=now, arrivals=arrivals, input_tokens=input_tokens, output_tokens=outputs
    )
    return replace(state, pace=pace, record=record)


def _missed(parameters: Parameters, state: Learned, seen: Observation, span_s: float, now: float) -> Misses:
    queue = _queued(parameters, seen)
    works = work(state.record, state.pace, parameters.batch, parameters.wait_s, round(LEVEL_S / BIN_S))
    return counted(
        state.misses,
        span_s=span_s,
        now=now,
        arrivals=_count(seen.arrivals),
        waited_s=waited(queue, _known(seen.completed), span_s, max(0.0, _count(seen.concurrency) - queue)),
        wait_s=parameters.wait_s,
        allowed=1 - parameters.percentile / 100,
        ready=seen.ready,
        ordered=seen.ordered,
        level=sum(works) / (BIN_S * max(1, len(works))),
    )


def _chosen(parameters: Parameters, state: Learned, times: Lead, now: float) -> Rule:
    """The cheapest rule that would have kept the promise, under stress, over the record."""
    young = youth(now - state.began, times.cold_s)
    works = work(state.record, state.pace, parameters.batch, parameters.wait_s)
    works = stressed(lifted(works, found(works, times.cold_s), times.cold_s + BACKTEST_EVERY_S / 2), young)
    arrivals = state.record.arrivals
    allowed = SPENT_SHARE * (1 - parameters.percentile / 100) * sum(arrivals)
    size = smallest_constant(works, arrivals, allowed, parameters.wait_s, max(1, parameters.maximum))
    best = Tried(rule=Rule(extra=float(size), limit=size), cost=float(size * len(works)))
    if state.record.span_s < FOLLOW_LEADS * times.cold_s:
        return best.rule
    limit = FOLLOW_GAIN * best.cost
    families = [(window_s, gain, 0) for window_s in WINDOWS_S for gain in GAINS]
    stocks = {1, ceil(size / 4), ceil(size / 2)}
    families += [
        (window_s, gain, min(stock, parameters.standby_limit))
        for window_s in QUICK_WINDOWS_S
        for gain in GAINS
        for stock in sorted(stocks)
        if parameters.standby_limit
    ]
    for window_s, gain, standby in families:
        outcome = tried(
            works,
            arrivals,
            window_s=window_s,
            gain=gain,
            standby=standby,
            standby_share=parameters.standby_share,
            hold_s=HOLD_LEADS * times.cold_s,
            cold_s=times.cold_s,
            standby_s=times.standby_s,
            allowed=allowed,
            wait_s=parameters.wait_s,
            limit=size,
        )
        if outcome is not None and outcome.cost < limit:
            best, limit = outcome, outcome.cost
    return best.rule


def _wished(parameters: Parameters, state: Learned, seen: Observation, times: Lead, now: float) -> Wish:
    rule = state.rule
    hold_bins = round(HOLD_LEADS * times.cold_s / BIN_S)
    window_bins = max(SPARE_BINS, round((rule.window_s if rule else 0.0) / BIN_S))
    recent = work(state.record, state.pace, parameters.batch, parameters.wait_s, hold_bins + window_bins)
    wants = [
        _rule_want(rule, recent, hold_bins) if rule else _Want(0, "rule", _NO_RULE),
        _start_want(state, times, now),
        _spare_want(recent, hold_bins),
        _Want(
            state.misses.floor,
            "misses",
            f"at such load requests waited too long with {state.misses.floor - 1} ready, so {state.misses.floor}",
        ),
        _surge_want(parameters, state, seen, recent, times, hold_bins, now),
    ]
    want = max(wants, key=lambda one: one.replicas)
    shown = calm.enough(state.calm, now=now, load=raw_load(state.record))
    if shown is not None and want.replicas > shown and want.binding != "start":
        want = _Want(shown, "calm", f"nobody has waited for {shown} replicas under such load, so no more than those")
    if _idle(state, seen):
        want = _Want(0, "idle", f"no request for {IDLE_S:g} s")
    count = ceil(want.replicas - 1e-9)
    desired = min(parameters.maximum, max(parameters.minimum, count))
    binding, reason = want.binding, want.reason
    if desired != count:
        binding = "max" if desired < count else "min"
        reason = f"{reason}; limited to {desired} by {binding}"
    stock = min(parameters.standby_limit, rule.standby if rule else 0, parameters.maximum - desired)
    return Wish(
        desired=desired,
        standby=max(0, stock),
        reason=reason,
        binding=binding,
        wanted=count,
        because=want.reason,
    )


def _idle(state: Learned, seen: Observation) -> bool:
    bins = round(IDLE_S / BIN_S)
    return _count(seen.concurrency) == 0 and state.record.bins > bins and not any(state.record.arrivals[-bins:])


def _rule_want(rule: Rule, recent: list[float], hold_bins: int) -> _Want:
    if rule.gain == 0:
        return _Want(
            rule.extra, "rule", f"{rule.extra:g} is the least that would have kept the promise so far, with a margin"
        )
    level = _level(recent, max(1, round(rule.window_s / BIN_S)), hold_bins)
    return _Want(
        min(rule.limit, rule.gain * level + rule.extra),
        "rule",
        f"{rule.gain:g} × the mean load of {rule.window_s:g} s ({level:.2f} at most of late) + {rule.extra:.2f} spare",
    )


def _level(recent: list[float], bins: int, hold_bins: int) -> float:
    """The largest mean over so many bins, of those that ended within the hold."""
    running = sum(recent[:bins])
    covered_s = max(1, min(bins, len(recent))) * BIN_S
    means = [running / covered_s]
    for place in range(bins, len(recent)):
        running += recent[place] - recent[place - bins]
        means.append(running / covered_s)
    # A running sum of what came and went may end a hair below zero.
    return max(0.0, *means[-hold_bins - 1 :])


def _start_want(state: Learned, times: Lead, now: float) -> _Want:
    """The operator's own fleet, until the brain is old enough to know better; then by and by less of it."""
    young = newness(now - state.began, times.cold_s)
    needed, start = state.rule.limit if state.rule else 0, float(state.start)
    if young < 1:
        start = min(start, START_LIMIT * needed)
    count = needed + (start - needed) * young if young > 0 and start > needed else 0.0
    return _Want(count, "start", f"{ceil(count)}: not below the fleet it began with while history is short")


def _spare_want(recent: list[float], hold_bins: int) -> _Want:
    """Square-root staffing: what varies by itself varies less, beside the whole, the more of it there is."""
    level = _level(recent, SPARE_BINS, hold_bins)
    return _Want(level + SPARE * sqrt(level), "load", f"a load of {level:.2f}, and room for its own fluctuation")


def _surge_want(
    parameters: Parameters,
    state: Learned,
    seen: Observation,
    recent: list[float],
    times: Lead,
    hold_bins: int,
    now: float,
) -> _Want:
    """What the last minute's load needs, and the backlog that is left when a replica ordered now would be ready.

    Those on their way are counted for the time that they will serve, so no backlog is ordered for twice.
    """
    minute = recent[-RECENT_BINS:]
    rate = sum(minute) / (BIN_S * max(1, len(minute)))
    lead_s = times.standby_s if seen.standby else times.cold_s
    waiting = (
        _queued(parameters, seen)
        * work_per_request_s(state.pace, parameters.batch)
        / use(state.pace, parameters.wait_s)
    )
    served = seen.ready * lead_s + sum(
        [max(0.0, lead_s - max(0.0, times.cold_s - age_s)) for age_s in seen.starting_ages_s]
    )
    promised = parameters.wait_s * max(1, seen.ready)
    left = max(0.0, waiting + rate * lead_s - served) if waiting > BACKLOG_SHARE * promised else 0.0
    rate_want = RECENT_MARGIN * rate
    if waiting > KEEP_SHARE * promised and seen.ordered > rate_want and left <= 0:
        return _Want(seen.ordered, "backlog", f"{waiting:.0f} s of work waits: nothing is given up before it is done")
    if left > 0:
        young = newness(now - state.began, times.cold_s) if rate > FAR_TOO_SMALL * seen.ready else 0.0
        share = DRAIN_SHARE + (YOUNG_DRAIN_SHARE - DRAIN_SHARE) * young
        extra = min(left / (DRAIN_LEADS * times.cold_s), share * rate + DRAIN_SPARE)
        # Nothing is given up either, nor a start that is under way called off, before it is done.
        wanted = max(rate_want, rate + extra, seen.ordered)
        return _Want(wanted, "backlog", f"{rate:.2f} replicas' work a second, and {left:.0f} s of it waits")
    level = _level(recent, RECENT_BINS, hold_bins)
    return _Want(RECENT_MARGIN * level, "load", f"the strongest minute of late alone needs {level:.2f}")
