"""Enough Replicas that each carries its target of queued + running requests.

The shape is the Knative Pod Autoscaler's (knative/serving, pkg/autoscaler/scaling/autoscaler.go): a stable window, and
a short panic window that takes over when it wants `panic_threshold` times what is ready. Other than there, Replicas on
their way count as capacity when panic is judged, and the panic is stored, so that a restart does not forget it.
"""

from dataclasses import replace
from math import ceil

from fleetctl.decide.policies import View, Wish
from fleetctl.decide.windows import average

PARAMETERS = ("panic_window", "panic_threshold")

_EPSILON = 1e-9
"""Averages of exact loads must not round up to one Replica more."""


def wish(view: View) -> Wish:
    """`ceil(average concurrency ÷ target)`, over the window that rules now."""
    scaling = view.service.scaling
    target = view.service.target_concurrency
    memory = view.memory
    stable_load = average(memory.load, view.now, scaling.window_s) or 0.0
    panic_load = average(memory.load, view.now, scaling.panic_window_s) or 0.0
    stable = ceil(stable_load / target - _EPSILON)
    short = ceil(panic_load / target - _EPSILON)

    if short >= scaling.panic_threshold * max(1, view.current) and short > view.current:
        memory = replace(memory, panic_until=view.now + scaling.window_s, panic_wish=max(memory.panic_wish, short))
    elif memory.panic_until is not None and view.now >= memory.panic_until:
        memory = replace(memory, panic_until=None, panic_wish=0)

    if memory.panic_until is not None:
        wanted = max(stable, short, memory.panic_wish)
        memory = replace(memory, panic_wish=wanted)
        return Wish(
            replicas=wanted,
            reason=(
                f"panic: {panic_load:.1f} queued + running over {scaling.panic_window_s:g} s"
                f" ÷ {target:g} a replica = {short}" + (f", held at {wanted}" if wanted > short else "")
            ),
            memory=memory,
            until=memory.panic_until if wanted > max(stable, short) else None,
        )

    capacity = view.current * target
    if view.current and abs(stable_load / capacity - 1.0) <= scaling.tolerance:
        return Wish(
            replicas=view.current,
            reason=(
                f"{stable_load:.1f} queued + running is within {scaling.tolerance:.0%} of what"
                f" {view.current} × {target:g} are meant to carry"
            ),
            memory=memory,
        )
    return Wish(
        replicas=stable,
        reason=(f"{stable_load:.1f} queued + running over {scaling.window_s:g} s ÷ {target:g} a replica = {stable}"),
        memory=memory,
    )
