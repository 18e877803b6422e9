"""SkyServe's request-rate autoscaler. Source: SkyPilot 0.14.1, sky/serve/autoscalers.py.

Defaults: a decision every 20 s on the requests of the last 60 s; up after 15 decisions in a row that want more (300 s),
down after 60 (1200 s); any other decision sets the count back to zero. The load balancer reports every 20 s. Minimum 1.
"""

from math import ceil

from fleetctl.decide.lines import ServiceLine
from fleetctl.sim.peers.history import History
from fleetctl.sim.scalers import Wish

DECISION_S = 20.0
WINDOW_S = 60.0
UP_DECISIONS = 15
DOWN_DECISIONS = 60


class SkyServe:
    """`target` is requests per second per replica."""

    def __init__(self, *, target: float, start: int) -> None:
        self._target = target
        self._requests = History(WINDOW_S)
        self._decided_at = -DECISION_S
        self._ups = self._downs = 0
        self._wanted = start

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        if seen.signals.arrivals is not None:
            self._requests.add(now, seen.signals.arrivals)
        if now - self._decided_at < DECISION_S - 1e-6:
            return Wish(desired=self._wanted, reason="between decisions")
        self._decided_at = now
        rate = self._requests.total(now, WINDOW_S) / WINDOW_S
        desired = max(1, ceil(rate / self._target))
        self._ups = self._ups + 1 if desired > self._wanted else 0
        self._downs = self._downs + 1 if desired < self._wanted else 0
        if self._ups >= UP_DECISIONS or self._downs >= DOWN_DECISIONS:
            self._wanted, self._ups, self._downs = desired, 0, 0
        return Wish(desired=self._wanted, reason=f"{rate:.2f} requests/s ÷ {self._target:g} = {desired}")
