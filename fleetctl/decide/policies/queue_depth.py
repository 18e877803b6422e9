"""Enough Replicas that no more than a few requests wait for each.

Queue length per replica is what KEDA's queue scalers and RunPod's go by, as `ceil(queued / target)`: that forgets what
the Replicas are busy with, and orders a backlog again while machines boot. Here whoever is ready keeps what it runs,
and each further Replica, those on their way too, takes a whole batch out of the queue before anyone waits for it.
"""

from math import ceil

from fleetctl.decide.policies import View, Wish
from fleetctl.decide.series import mean, measured

PARAMETERS = ("queued",)

_EPSILON = 1e-9
"""Averages of exact queues must not round up to one Replica more."""
QUEUED, BUSY = "queue_depth/queued", "queue_depth/running"


def wish(view: View) -> Wish:
    """The fewest Replicas that leave at most `queued` requests waiting for each, and that hold all that runs."""
    scaling, batch, ready = view.service.scaling, view.service.concurrency, view.ready
    memory, load = view.memory, view.load
    waiting_now = load.queued + load.waiting
    running_now = max(0.0, load.low - waiting_now)
    for name, value in ((QUEUED, waiting_now), (BUSY, running_now)):
        memory = measured(memory, name, value, now=view.now, span_s=load.mean_over_s, keep_s=scaling.window_s)
    queued = mean(memory, QUEUED, now=view.now, window_s=scaling.window_s) or 0.0
    running = mean(memory, BUSY, now=view.now, window_s=scaling.window_s) or 0.0
    busy = ceil(running / batch - _EPSILON)
    allowed = scaling.queued * ready
    if queued <= allowed:
        wanted = max(busy, ceil(queued / scaling.queued - _EPSILON))
        reason = (
            f"{queued:.1f} queued over {scaling.window_s:g} s, {scaling.queued:g} a replica may be;"
            f" {running:.1f} run, {batch} a replica: {wanted}"
        )
    else:
        # Each Replica beyond the ready ones takes its batch out of the queue, and may have its share wait.
        wanted = max(busy, ready + ceil((queued - allowed) / (scaling.queued + batch) - _EPSILON))
        reason = (
            f"{queued:.1f} queued over {scaling.window_s:g} s, {allowed:g} may be for {ready} ready;"
            f" each further replica takes {scaling.queued + batch:g}: {wanted}"
        )
        if wanted <= view.current:
            reason += f", and {view.current - ready} are on their way"
    unknown = "" if load.queued_known else "how many wait is unknown"
    return Wish(replicas=wanted, reason=reason, memory=memory, why_unknown=unknown)
