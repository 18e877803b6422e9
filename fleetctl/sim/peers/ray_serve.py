"""Ray Serve's autoscaler. Source: Ray 2.60.0, serve/autoscaling_policy.py, _private/autoscaling_state.py.

Defaults: look-back 30 s, factors 1.0, up after 30 s and down after 600 s of wanting it without a break; the
target's own default is 2 ongoing requests. The latest value is applied, whatever was wanted in between (ray#46497).
Its loop is 0.1 s: here the world's tick. Minimum 1.
"""

from math import ceil

from fleetctl.decide.lines import ServiceLine
from fleetctl.sim.peers.history import History
from fleetctl.sim.scalers import Wish

LOOK_BACK_S = 30.0
UP_DELAY_S = 30.0
DOWN_DELAY_S = 600.0


class RayServe:
    """`target` is running + queued requests per replica."""

    def __init__(self, *, target: float) -> None:
        self._target = target
        self._load = History(LOOK_BACK_S)
        self._direction = 0
        self._since = 0.0
        self._wanted: int | None = None

    def observe(self, now: float, seen: ServiceLine) -> Wish:
        if self._wanted is None:
            self._wanted = seen.ordered
        if seen.signals.concurrency is not None:
            self._load.add(now, seen.signals.concurrency)
        load = self._load.mean(now, LOOK_BACK_S)
        if load is None:
            return Wish(desired=self._wanted, reason="no metric yet")
        desired = max(1, ceil(load / self._target - 1e-9))
        direction = (desired > self._wanted) - (desired < self._wanted)
        if direction != self._direction:
            self._direction, self._since = direction, now
        delay_s = UP_DELAY_S if direction > 0 else DOWN_DELAY_S
        if direction and now - self._since >= delay_s:
            self._wanted, self._direction = desired, 0
        return Wish(desired=self._wanted, reason=f"{load:.1f} ongoing ÷ {self._target:g} = {desired}")
