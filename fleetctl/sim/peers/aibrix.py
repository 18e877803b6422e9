"""AIBrix' APA. Source: vllm-project/aibrix e3e10f9e, pkg/controller/podautoscaler.

Defaults: a loop of 10 s, window 180 s, rates ×2 and ÷2, tolerance 0.1 both ways, cooldown 0 up and 300 s down (the
largest recommendation in it). The average is over all pods, those that do not report yet included: `C` in
`ceil(C · average ÷ target)` is what is ordered, and the average is of the ready ones, hence its cascade (aibrix#2670).
"""

from math import ceil, floor

from fleetctl.decide.lines import ServiceLine
from fleetctl.sim.peers.history import History
from fleetctl.sim.scalers import Wish

LOOP_S = 10.0
WINDOW_S = 180.0
UP_RATE = 2.0
DOWN_RATE = 2.0
TOLERANCE = 0.1
DOWN_COOLDOWN_S = 300.0


def recommend(*, current: int, average: float, target: float) -> int:
    ratio = average / target
    if ratio > 1 + TOLERANCE:
        return min(ceil(current * ratio), ceil(UP_RATE * current))
    if ratio < 1 - TOLERANCE:
        return max(ceil(current * ratio), floor(current / DOWN_RATE))
    return current


class Aibrix:
    """`target` is queued + running requests per replica."""

    def __init__(self, *, target: float) -> None:
        self._target = target
        self._average = History(WINDOW_S)
        self._recommended = History(DOWN_COOLDOWN_S)
        self._decided_at = -LOOP_S
        self._wanted: int | None = None

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        if self._wanted is None:
            self._wanted = seen.ordered
        if seen.signals.concurrency is not None and seen.ready:
            self._average.add(now, seen.signals.concurrency / seen.ready)
        average = self._average.mean(now, WINDOW_S)
        if now - self._decided_at < LOOP_S - 1e-6 or average is None:
            return Wish(desired=self._wanted, reason="between loops")
        self._decided_at = now
        desired = max(1, recommend(current=self._wanted, average=average, target=self._target))
        self._recommended.add(now, desired)
        self._wanted = max(desired, int(self._recommended.most(now, DOWN_COOLDOWN_S)))
        return Wish(desired=self._wanted, reason=f"{average:.1f} a pod ÷ {self._target:g}: {desired}")
