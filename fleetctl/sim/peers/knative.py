"""Knative's Pod Autoscaler. Source: knative/serving 98e5ef90aa, pkg/autoscaler/scaling/autoscaler.go.

Defaults: stable window 60 s, panic window 10 % of it, panic threshold 2.0, rates ×1000 up and ÷2 down, scale-down delay
0; the target is 70 % of the concurrency limit. Its tick is 2 s on buckets of 1 s: here the world's tick.
"""

from math import ceil, floor

from fleetctl.decide.lines import ServiceLine
from fleetctl.sim.peers.history import History
from fleetctl.sim.scalers import Wish

STABLE_S = 60.0
PANIC_S = 6.0
PANIC_THRESHOLD = 2.0
MAX_UP_RATE = 1000.0
MAX_DOWN_RATE = 2.0


class Knative:
    """`target` is requests in flight per replica; the metric counts queued ones, too, as the activator reports them."""

    def __init__(self, *, target: float, start: int) -> None:
        self._target = max(0.01, target)
        self._load = History(STABLE_S)
        # With more than one replica at construction it starts in panic, so that a restart never scales down.
        self._panic_since: float | None = 0.0 if start > 1 else None
        self._panic_most = start if start > 1 else 0
        self._wanted = start

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        if seen.signals.concurrency is not None:
            self._load.add(now, seen.signals.concurrency)
        stable, panic = self._load.mean(now, STABLE_S), self._load.mean(now, PANIC_S)
        if stable is None or panic is None:
            return Wish(desired=self._wanted, reason="no data: no change")
        ready = max(1, seen.ready)
        up_to, down_to = ceil(MAX_UP_RATE * ready), floor(ready / MAX_DOWN_RATE)
        for_stable = min(max(ceil(stable / self._target), down_to), up_to)
        for_panic = min(max(ceil(panic / self._target), down_to), up_to)
        over = ceil(panic / self._target) / ready >= PANIC_THRESHOLD
        if over:
            if self._panic_since is None:
                self._panic_most = 0
            self._panic_since = now
        elif self._panic_since is not None and now - self._panic_since >= STABLE_S:
            self._panic_since = None
        if self._panic_since is not None:
            self._panic_most = max(self._panic_most, for_stable, for_panic)
            self._wanted = self._panic_most
            return Wish(desired=self._wanted, reason=f"panic: {panic:.1f} in flight, never below {self._panic_most}")
        self._wanted = for_stable
        return Wish(desired=self._wanted, reason=f"{stable:.1f} in flight over {STABLE_S:g} s ÷ {self._target:g}")
