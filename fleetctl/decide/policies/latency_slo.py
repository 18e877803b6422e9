"""More Replicas while requests take too long, fewer while they take far less than was promised.

The ratio rule of the HorizontalPodAutoscaler over a latency reads the backlog of a boot as demand and orders it again
on every tick. Four things keep it from that here: what is on its way is subtracted; the fleet at most doubles at once;
a request that came before the last Replica got ready says nothing of the fleet as it is now; and a queue that will
have drained before a new Replica could help is waited out. Down it goes only to what leaves room below the promise
(the share is that of NVIDIA Dynamo's planner), and never below what the requests themselves fill.
"""

from dataclasses import replace
from math import ceil

from fleetctl.decide.cold_start import cold_s, standby_s
from fleetctl.decide.histograms import percentile_s, requests, together, within
from fleetctl.decide.policies import View, Wish
from fleetctl.decide.series import mean, measured
from fleetctl.decide.windows import average
from fleetctl.model.decisions import Memory
from fleetctl.model.services import Slo, Standby
from fleetctl.model.signals import Histogram

PARAMETERS = ("latency", "latency_of", "percentile")

RATIO_MAX = 2.0
"""At most twice as many as are ready: a latency says that there is too little, hardly how much (Dynamo and AIBrix bound
a step alike)."""
DOWN_SHARE = 0.8
"""Only to a count at which the latency, if it went with 1 ÷ replicas, would be at most this share of the promise."""
REQUESTS_MIN = 10.0
"""Fewer answers in the window are an anecdote; whoever still waits counts from the first."""
PARTS = 12
"""Of the window: it forgets by twelfths."""
TOLD, QUEUE = "latency_slo/told", "latency_slo/queue"
_EPSILON = 1e-9
_PROMISE = Slo(ttft_s=5.0)
"""Where neither the file's promise nor `latency` says: what people call prompt."""


def wish(view: View) -> Wish:
    """By how the percentile stands to the promise, and by who has waited longer than that already."""
    scaling = view.service.scaling
    slo = view.service.slo or _PROMISE
    promised_s = scaling.latency_s or slo.ttft_s
    percentile = scaling.percentile or slo.percentile
    memory = _grown_at(view)
    memory, taken_s, unknown = _taken(view, memory, percentile)
    if not view.load.high and not average(memory.load, view.now, scaling.window_s):
        unknown = ""  # nobody asked, so there is nothing to be known
    memory = measured(
        memory, QUEUE, view.load.queued, now=view.now, span_s=view.load.mean_over_s, keep_s=scaling.window_s
    )
    load = average(memory.load, view.now, scaling.window_s) or 0.0
    # A floor under what is there, and no order for more: in it is the backlog of whoever boots.
    needed = min(max(1, view.current), ceil(load / view.service.target_concurrency - _EPSILON))
    waited_s = view.load.oldest_wait_s
    if memory.grew_at is not None and waited_s > view.now - memory.grew_at:
        waited_s = 0.0  # it came before the fleet was what it is
    slow_s = max(taken_s or 0.0, waited_s)
    if taken_s is None and not waited_s:
        idle = not load and not unknown
        reason = "nobody asks" if idle else f"too few answers to tell; {needed} by requests"
        # Too few answers are no proof that fewer would do; no requests at all are.
        wanted = needed if idle or unknown else max(needed, view.current)
        return Wish(replicas=wanted, reason=reason, memory=memory, why_unknown=unknown)
    ratio = slow_s / promised_s
    what = "first" if scaling.latency_of == "ttft" else "last"
    told = f"{percentile:g} % see their {what} token within {slow_s:.2f} s, promised {promised_s:g} s"
    if waited_s > (taken_s or 0.0):
        told = f"the oldest request has waited {waited_s:.1f} s, promised {promised_s:g} s"
    if ratio > 1.0 + scaling.tolerance:
        wanted, note = _more(view, memory, ratio)
    elif ratio > 1.0:
        wanted, note = view.current, "within the tolerance"
    else:
        wanted = min(view.current, ceil(view.current * ratio / DOWN_SHARE - _EPSILON))
        note = f"with room below the promise {wanted} would do"
    if needed > wanted:
        wanted, note = needed, f"{load:.1f} queued + running need {needed}"
    return Wish(replicas=wanted, reason=f"{told}; {note}", memory=memory, why_unknown=unknown)


def _more(view: View, memory: Memory, ratio: float) -> tuple[int, str]:
    """How many while it takes too long, and why so many."""
    ready, current = max(1, view.ready), view.current
    wanted = ceil(ready * min(ratio, RATIO_MAX) - _EPSILON)
    if wanted <= current:
        return current, f"{current - view.ready} are on their way, which is enough for now"
    drained_s = _drained_s(view, memory)
    lead_s = _lead_s(view)
    if drained_s is not None and drained_s < lead_s:
        return current, f"the queue will be gone in {drained_s:.0f} s, before a new replica in {lead_s:.0f} s"
    return wanted, f"{ready} ready × {min(ratio, RATIO_MAX):.2f} = {wanted}"


def _drained_s(view: View, memory: Memory) -> float | None:
    """When the queue will be empty if it goes on shrinking as it did on the mean; None: it does not."""
    window_s = view.service.scaling.window_s
    usual = mean(memory, QUEUE, now=view.now, window_s=window_s)
    if usual is None or view.load.queued <= 0 or usual <= view.load.queued:
        return None
    # Of a queue that falls steadily the mean is what it was half a window ago.
    return view.load.queued / ((usual - view.load.queued) / (window_s / 2))


def _lead_s(view: View) -> float:
    standby = view.service.standby or Standby()
    return standby_s(view.service, standby.tier) if view.inputs.standby else cold_s(view.service)


def _grown_at(view: View) -> Memory:
    """The Memory, knowing since when as many Replicas are ready as are now."""
    memory = view.memory
    if view.ready > memory.grew_to:
        # The first count ever seen is no growth: who is there may have been there long.
        grew_at = memory.grew_at if memory.grew_to == 0 and memory.grew_at is None else view.now
        return replace(memory, grew_at=grew_at, grew_to=view.ready)
    return memory if view.ready == memory.grew_to else replace(memory, grew_to=view.ready)


def _taken(view: View, memory: Memory, percentile: float) -> tuple[Memory, float | None, str]:
    """The Memory with what was measured; the percentile over the window, None: too few; and why it is unknown."""
    scaling, flow = view.service.scaling, view.inputs.flow
    first = scaling.latency_of == "ttft"
    told_s, counted = (flow.ttft_s, flow.ttft) if first else (flow.end_to_end_s, flow.end_to_end)
    if told_s is not None:
        memory = measured(memory, TOLD, told_s, now=view.now, span_s=flow.span_s, keep_s=scaling.window_s)
        return memory, mean(memory, TOLD, now=view.now, window_s=scaling.window_s), ""
    if counted is not None and memory.grew_at is not None:
        counted = within(counted, max(0.0, view.now - memory.grew_at))
    memory = replace(memory, latencies=_windowed(memory, counted, view.now, scaling.window_s))
    whole = together([part for _, part in memory.latencies])
    taken_s = percentile_s(whole, percentile) if requests(whole) >= REQUESTS_MIN else None
    return memory, taken_s, "" if counted is not None else "the times that requests take could not be read"


def _windowed(
    memory: Memory, counted: Histogram | None, now: float, window_s: float
) -> tuple[tuple[float, Histogram], ...]:
    """The parts of the window with what was counted in the newest one; all of it anew where the fleet has grown."""
    begin = now - window_s
    if memory.grew_at is not None:
        begin = max(begin, memory.grew_at)
    kept = tuple((at, part) for at, part in memory.latencies if begin <= at <= now)
    if counted is None or not requests(counted):
        return kept
    if kept and now - kept[-1][0] < window_s / PARTS:
        return (*kept[:-1], (kept[-1][0], together([kept[-1][1], counted])))
    return (*kept, (now, counted))
