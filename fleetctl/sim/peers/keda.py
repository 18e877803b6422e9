"""KEDA: the HorizontalPodAutoscaler between 1 and N, and its own rule between 0 and 1.

Source: kedacore/keda 8b4f083ca, pkg/scaling/executor/scale_scaledobjects.go. Defaults: polling 30 s, cooldown 300 s. It
uses an External metric (AverageValue): the total over the target, whatever is ready. Active is a total above zero.
"""

from math import ceil

from fleetctl.decide.lines import ServiceLine
from fleetctl.sim.peers.history import History
from fleetctl.sim.peers.hpa import DOWN_WINDOW_S, POLICY_PERIOD_S, SYNC_S, TOLERANCE, UP_PERCENT, UP_PODS
from fleetctl.sim.scalers import Wish

POLLING_S = 30.0
COOLDOWN_S = 300.0


def recommend(*, current: int, load: float, target: float) -> int:
    """The raw recommendation of an External metric with an average value."""
    if current and abs(load / (target * current) - 1.0) <= TOLERANCE:
        return current
    return ceil(load / target)


class Keda:
    """`target` is queued + running requests per replica."""

    def __init__(self, *, target: float, min_replicas: int = 0) -> None:
        self._target = target
        self._min = min_replicas
        self._raw = History(DOWN_WINDOW_S)
        self._changes = History(POLICY_PERIOD_S)
        self._synced_at = -SYNC_S
        self._polled_at = -POLLING_S
        self._active_at = 0.0
        self._load: list[float] = []
        self._last_load: float | None = None
        self._wanted: int | None = None

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        if self._wanted is None:
            self._wanted = seen.ordered
        if seen.signals.concurrency is not None:
            self._load.append(seen.signals.concurrency)
            self._last_load = seen.signals.concurrency
        if now - self._polled_at >= POLLING_S - 1e-6 and self._last_load is not None:
            self._polled_at = now
            if self._last_load > 0:
                self._active_at = now
                self._wanted = max(1, self._min, self._wanted)
            elif now > self._active_at + COOLDOWN_S and self._wanted:
                self._wanted = self._min
                return Wish(desired=self._wanted, reason=f"inactive for {COOLDOWN_S:g} s")
        if self._wanted == 0 or now - self._synced_at < SYNC_S - 1e-6 or not self._load:
            return Wish(desired=self._wanted, reason="between syncs")
        self._synced_at = now
        load = sum(self._load) / len(self._load)
        self._load = []
        current = self._wanted
        raw = recommend(current=current, load=load, target=self._target)
        self._raw.add(now, raw)
        wanted = raw if raw > current else min(current, int(self._raw.most(now, DOWN_WINDOW_S)))
        wanted = max(1, self._min, wanted)
        if wanted > current:
            period_start = current - int(self._changes.total(now, POLICY_PERIOD_S))
            limit = max(period_start + UP_PODS, ceil(period_start * (1 + UP_PERCENT / 100)))
            wanted = min(wanted, max(current, limit))
            self._changes.add(now, wanted - current)
        self._wanted = wanted
        return Wish(desired=wanted, reason=f"{load:.1f} requests ÷ {self._target:g}: raw {raw}")
