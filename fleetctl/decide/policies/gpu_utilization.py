"""As many Replicas as keep their GPUs busy for a share of the time.

A GPU counts as busy while any kernel runs, and an inference engine runs one as soon as it has one request. So the
share says little of how much more would fit, and two bounds hold: never more Replicas than there are requests, and
never fewer than the queue and the batches need. As one of `signals` it confirms a scale-down and raises nothing.
"""

from math import ceil

from fleetctl.decide.policies import View, Wish
from fleetctl.decide.series import mean, measured
from fleetctl.decide.windows import average

PARAMETERS = ("utilization",)

_EPSILON = 1e-9
"""Averages of exact shares must not round up to one Replica more."""
SHARE = "gpu_utilization"
UNKNOWN = "how busy the GPUs are is unknown (write gpu_metrics: {port: 9400}, where a DCGM exporter listens)"


def wish(view: View) -> Wish:
    """`ceil(ready × share ÷ utilization)` over the window, within what the requests allow."""
    scaling, memory, seen = view.service.scaling, view.memory, view.inputs.utilization
    if seen is not None:
        target = scaling.utilization
        share_now = min(max(target, seen.low), seen.high)
        memory = measured(
            memory,
            SHARE,
            share_now,
            now=view.now,
            span_s=view.inputs.flow.span_s,
            keep_s=scaling.window_s,
        )
    load = average(memory.load, view.now, scaling.window_s) or 0.0
    # A floor under what is there, and no order for more: in it is the backlog of whoever boots.
    needed = min(max(1, view.current), ceil(load / view.service.target_concurrency - _EPSILON))
    share = mean(memory, SHARE, now=view.now, window_s=scaling.window_s)
    if not view.ready:
        return Wish(replicas=max(needed, view.current), reason=f"none is ready; {needed} by requests", memory=memory)
    if seen is None or share is None:
        return Wish(replicas=needed, reason=f"{needed} by requests alone", memory=memory, why_unknown=UNKNOWN)
    ratio = share / scaling.utilization
    by_share = view.current if abs(ratio - 1.0) <= scaling.tolerance else ceil(view.ready * ratio - _EPSILON)
    most = ceil(max(load, view.load.high) - _EPSILON)
    wanted = max(needed, min(by_share, max(most, needed)))
    reason = (
        f"GPUs busy for {share:.0%} of {scaling.window_s:g} s, {scaling.utilization:.0%} is aimed at;"
        f" {view.ready} ready: {by_share}"
    )
    if wanted > by_share:
        reason = f"{load:.1f} queued + running need {needed} ({reason})"
    elif wanted < by_share:
        reason = f"no more replicas than the {most} requests ({reason})"
    return Wish(
        replicas=wanted,
        reason=reason,
        memory=memory,
        why_unknown=f"the GPUs of {seen.unknown} replicas are unknown" if seen.unknown else "",
    )
