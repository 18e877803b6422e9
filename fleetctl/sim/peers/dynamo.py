"""Like NVIDIA Dynamo's planner with both its loops. Source: ai-dynamo 1.6.1, dynamo/planner.

Defaults: throughput tick 180 s, load tick 5 s, at most ±8 replicas a tick, minimum 1. Throughput: predicted
requests (the constant predictor: as many as in the last interval) ÷ what an engine does within its SLA; with load
scaling on, that is a floor. Load, in its easy mode (throughput thresholds on the prefill queue): +1 if requests
wait, at least one a replica; −1 if fewer than a tenth wait and, with one replica less, what runs would still fit;
never while it scales.

"Like", since its SLA model is a regression on engine internals that one line per tick does not carry: what an
engine does within its SLA is the target here.
"""

from math import ceil

from fleetctl.decide.lines import ServiceLine
from fleetctl.sim.peers.history import History
from fleetctl.sim.scalers import Wish

THROUGHPUT_TICK_S = 180.0
LOAD_TICK_S = 5.0
STEP_MAX = 8
QUEUE_UP = 1.0
QUEUE_DOWN = 0.1
OBSERVATIONS_MIN = 5


class Dynamo:
    """`target` is requests per second that one engine does within its SLA."""

    def __init__(self, *, target: float) -> None:
        self._target = target
        self._requests = History(THROUGHPUT_TICK_S)
        self._queue = History(OBSERVATIONS_MIN * LOAD_TICK_S)
        self._planned_at = 0.0
        self._floor = 1
        self._wanted: int | None = None

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        if self._wanted is None:
            self._wanted = self._floor = seen.ordered
        if seen.signals.arrivals is not None:
            self._requests.add(now, seen.signals.arrivals)
        if seen.signals.queue is not None:
            self._queue.add(now, seen.signals.queue)
        if now - self._planned_at >= THROUGHPUT_TICK_S - 1e-6:
            self._planned_at = now
            rate = self._requests.total(now, THROUGHPUT_TICK_S) / THROUGHPUT_TICK_S
            self._floor = max(1, ceil(rate / self._target))
        wanted = self._wanted
        queue = self._queue.mean(now, OBSERVATIONS_MIN * LOAD_TICK_S)
        if queue is not None and len(self._queue) >= OBSERVATIONS_MIN and not seen.starting:
            replicas = max(1, seen.ready)
            if queue / replicas >= QUEUE_UP:
                wanted += 1
            elif queue / replicas < QUEUE_DOWN and wanted > self._floor:
                wanted -= 1
        wanted = max(wanted, self._floor)
        self._wanted = max(self._wanted - STEP_MAX, min(self._wanted + STEP_MAX, wanted))
        return Wish(desired=self._wanted, reason=f"floor {self._floor}, queue {queue if queue is not None else 0:.1f}")
