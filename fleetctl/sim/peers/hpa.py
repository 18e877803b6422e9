"""Kubernetes' HorizontalPodAutoscaler v2. Source: pkg/controller/podautoscaler/{horizontal,replica_calculator}.go.

Defaults: sync 15 s, tolerance 0.1, up at once by at most max(+4, +100 %) in 15 s, down by the largest recommendation of
the last 300 s, at most −100 % in 15 s. A Pods metric: queued + running per replica, the queue shared by the ready ones.
Pods that are not ready count as 0 when scaling up and are left out when scaling down.
"""

from math import ceil

from fleetctl.decide.lines import ServiceLine
from fleetctl.sim.peers.history import History
from fleetctl.sim.scalers import Wish

SYNC_S = 15.0
TOLERANCE = 0.1
UP_PODS = 4
UP_PERCENT = 100
POLICY_PERIOD_S = 15.0
DOWN_WINDOW_S = 300.0


def recommend(*, current: int, ready: int, unready: int, load: float, target: float) -> int:
    """The raw recommendation of a Pods metric, `load` summed over the ready pods."""
    if not ready:
        return current
    usage = load / ready / target
    if not (unready and usage > 1.0):
        return current if abs(1.0 - usage) <= TOLERANCE else ceil(usage * ready)
    refilled = load / (ready + unready) / target
    if abs(1.0 - refilled) <= TOLERANCE or refilled < 1.0:
        return current
    return max(current, ceil(refilled * (ready + unready)))


class Hpa:
    """`target` is queued + running requests per replica."""

    def __init__(self, *, target: float, min_replicas: int = 1) -> None:
        self._target = target
        self._min = min_replicas
        self._raw = History(DOWN_WINDOW_S)
        self._changes = History(POLICY_PERIOD_S)
        self._synced_at = -SYNC_S
        self._load: list[float] = []
        self._wanted: int | None = None

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        if self._wanted is None:
            self._wanted = seen.ordered
        if seen.signals.concurrency is not None:
            self._load.append(seen.signals.concurrency)
        if now - self._synced_at < SYNC_S - 1e-6:
            return Wish(desired=self._wanted, reason="between syncs")
        self._synced_at = now
        if not self._load:
            return Wish(desired=self._wanted, reason="no metric: no change")
        load = sum(self._load) / len(self._load)
        self._load = []
        current = self._wanted
        raw = recommend(current=current, ready=seen.ready, unready=len(seen.starting), load=load, target=self._target)
        self._raw.add(now, raw)
        wanted = self._limited(now, current, max(self._min, self._stabilised(now, current, raw)))
        if wanted > current:
            self._changes.add(now, wanted - current)
        self._wanted = wanted
        return Wish(desired=wanted, reason=f"{load:.1f} requests ÷ {self._target:g}: raw {raw}")

    def _stabilised(self, now: float, current: int, raw: int) -> int:
        highest = int(self._raw.most(now, DOWN_WINDOW_S))
        if current < raw:
            return raw
        return min(current, highest)

    def _limited(self, now: float, current: int, wanted: int) -> int:
        if wanted <= current:
            return wanted
        period_start = current - int(self._changes.total(now, POLICY_PERIOD_S))
        limit = max(period_start + UP_PODS, ceil(period_start * (1 + UP_PERCENT / 100)))
        return min(wanted, max(current, limit))
