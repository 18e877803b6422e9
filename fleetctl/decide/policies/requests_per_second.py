"""Enough Replicas that each gets at most so many requests a second.

The rule of SkyServe (`target_qps_per_replica`), dstack and Knative's `rps`, over requests that arrive and not those
that ended. It sees no backlog and no length of requests: add `signals: [{policy: queue_depth}]` where those vary.
"""

from fleetctl.decide.policies import View, Wish
from fleetctl.decide.series import mean, measured, shared

PARAMETERS = ("requests_per_second",)

RATE = "requests_per_second"


def wish(view: View) -> Wish:
    """`ceil(arrivals a second ÷ requests_per_second)`, over the window."""
    scaling, flow, memory = view.service.scaling, view.inputs.flow, view.memory
    each = scaling.requests_per_second
    if each is None:
        return Wish(replicas=view.current, reason="hold", memory=memory, why_unknown="requests_per_second is not set")
    known = flow.arrivals is not None and flow.span_s > 0
    if flow.arrivals is not None and known:
        memory = measured(
            memory,
            RATE,
            flow.arrivals / flow.span_s,
            now=view.now,
            span_s=flow.span_s,
            keep_s=scaling.window_s,
        )
    rate = mean(memory, RATE, now=view.now, window_s=scaling.window_s)
    if rate is None:
        return Wish(replicas=view.current, reason="hold", memory=memory, why_unknown="arrivals are not counted yet")
    wanted = shared(rate, each, current=view.current, tolerance=scaling.tolerance)
    return Wish(
        replicas=wanted,
        reason=f"{rate:.2f} requests a second over {scaling.window_s:g} s, {each:g} a replica: {wanted}",
        memory=memory,
        why_unknown="" if known else "arrivals could not be counted",
    )
