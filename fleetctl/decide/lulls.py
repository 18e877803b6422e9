"""When a Service that may go to zero does: its lulls, and how long its last Replica is kept in one."""

from dataclasses import replace

from fleetctl.decide.lead_times import expected
from fleetctl.decide.zero import GAP_LEAST_S, IdleGap, kept_s
from fleetctl.model.decisions import Inputs, Memory
from fleetctl.model.services import Service
from fleetctl.model.signals import Load

LULLS_KEPT = 512
"""Days of a service that is asked every few minutes; they are stored with every tick."""
RESTART_WEIGHT = 3.0
"""A second of waiting for a start is worth this many of an idle Replica. Where nothing is known yet, the last Replica
is kept for as many cold starts: a quarter of an hour for one of five minutes, which is what people set by hand."""
KEPT_MOST_S = 6 * 3600.0
"""However long a start takes: half a day of an idle GPU is never what was meant by going to zero."""
IDLE_FIRST_S = 900.0
"""Of a policy that learns nothing and a file that says nothing."""


def noted(service: Service, inputs: Inputs, load: Load | None, memory: Memory) -> Memory:
    """The Memory with what this tick shows of being busy or idle. What is unknown counts as busy."""
    now = inputs.at
    if load is None:
        # At zero nothing can be taken away, and the time without a request goes on.
        return replace(memory, busy_at=now, lull=None) if inputs.current else memory
    if load.high > 0 or not load.queue_known or inputs.flow.arrivals:
        lulls = memory.lulls
        # Only a lull that was seen to be one is kept: two busy ticks that are far apart are none.
        if memory.lull is not None and memory.lull[0] == memory.busy_at and now - memory.lull[0] >= GAP_LEAST_S:
            past = lulls if not lulls or lulls[-1][0] <= memory.lull[0] else ()
            lulls = (*past[-(LULLS_KEPT - 1) :], (memory.lull[0], now - memory.lull[0]))
        return replace(memory, busy_at=now, lull=None, lulls=lulls)
    began_at = memory.busy_at
    if not _learns(service) or began_at is None or (memory.lull is not None and memory.lull[0] == began_at):
        return memory
    return replace(memory, lull=(began_at, _retention_s(service, inputs, memory, began_at)))


def idle_s(service: Service, memory: Memory) -> float:
    """How long nothing may come before the Service goes to zero: what the file says, or what its lulls have taught."""
    stated = service.scaling.idle_s
    if stated is not None:
        return stated
    return memory.lull[1] if memory.lull is not None and _learns(service) else IDLE_FIRST_S


def idle(service: Service, inputs: Inputs, load: Load, memory: Memory) -> bool:
    """Whether the Service may be at zero now: no request for long enough, and nothing unknown."""
    if service.scaling.min > 0 or load.high > 0 or not load.queue_known or memory.busy_at is None:
        return False
    return inputs.at - memory.busy_at >= idle_s(service, memory)


def _learns(service: Service) -> bool:
    return service.scaling.policy == "auto" and service.scaling.min == 0 and service.scaling.idle_s is None


def _retention_s(service: Service, inputs: Inputs, memory: Memory, began_at: float) -> float:
    """Of the lull that began then; worked out once for each, as nothing that it hangs on changes meanwhile."""
    times = expected(service, inputs, memory)
    restart_s = times.standby_s if inputs.standby else times.cold_s
    past = [IdleGap(began_at=began, length_s=length_s) for began, length_s in memory.lulls]
    return kept_s(past, began_at, restart_s=restart_s, restart_weight=RESTART_WEIGHT, most_s=KEPT_MOST_S)
